"""Submitting, changing and waiting for jobs; and what is said when that fails."""

import math
import sys
from pathlib import Path

import pytest
from conftest import EXPERIMENT, PROJECT, TRAINER

import expgraph
from expgraph import ExpgraphError, LogRange, Range

COMMAND = ["python3", str(TRAINER), "{overrides}"]
SMALL = {"train": {"epochs": 1}, "data": {"train_size": 100}}


def test_a_dry_run_shows_the_scripts_and_submits_nothing(client):
    resources = {"cpus": 1, "time_limit_minutes": 5}
    submission = client.submit_sweep(f"{PROJECT}/run", COMMAND, grid={"optim.lr": [0.1, 0.2]}, seeds=[0, 1], resources=resources, dry_run=True)
    assert submission.dry_run and len(submission.jobs) == 4 and submission.job_ids == []
    assert "train.py" in submission.scripts[0]
    assert "would submit" in submission._repr_html_()
    assert client.experiments(project=PROJECT, name="run") == []


def test_spaces_are_drawn_from_ranges_and_choices(client):
    submission = client.submit_sweep(
        f"{PROJECT}/random", COMMAND, random={"optim.lr": LogRange(1e-4, 1e-1), "model.hidden": Range(2, 8, integer=True), "data.noise": [0.1, 0.2]},
        draws=5, draw_seed=1, dry_run=True,
    )
    configs = [job["config"] for job in submission.jobs]
    assert len(configs) == 5
    assert all(1e-4 <= config["optim"]["lr"] <= 1e-1 and config["model"]["hidden"] in range(2, 9) for config in configs)


def test_numpy_values_are_sent_as_numbers(client):
    numpy = pytest.importorskip("numpy")
    grid = {"optim.lr": numpy.logspace(-3, -1, 3)}
    submission = client.submit_sweep(f"{PROJECT}/numpy", COMMAND, base={"data.seed": numpy.int64(3)}, grid=grid, dry_run=True)
    assert [job["config"]["optim"]["lr"] for job in submission.jobs] == pytest.approx([0.001, 0.01, 0.1])


def test_every_fault_of_an_input_is_told_with_its_field(client):
    with pytest.raises(ExpgraphError) as raised:
        client.submit_sweep(f"{PROJECT}/faults", COMMAND, grid={"optim.lr": []}, priority=5000, dry_run=True)
    assert raised.value.code == "BAD_USER_INPUT"
    assert {"space.grid.0.values", "priority"} <= {fault.field for fault in raised.value.faults}
    assert all(fault.field in str(raised.value) and fault.message in str(raised.value) for fault in raised.value.faults)


def test_an_option_that_does_not_exist_is_refused_by_name(client):
    with pytest.raises(ExpgraphError, match="prioritty"):
        client.submit_job(f"{PROJECT}/options", COMMAND, {}, prioritty=1, dry_run=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_a_value_that_json_cannot_say_is_refused_before_it_is_sent(client, value):
    with pytest.raises(ExpgraphError) as raised:
        client.submit_job(f"{PROJECT}/values", COMMAND, {"optim.lr": value})
    assert raised.value.code == "BAD_USER_INPUT"


def test_a_project_is_needed(client):
    with pytest.raises(ExpgraphError, match='experiment: needs its project, too: "PROJECT/alone"'):
        client.submit_job("alone", COMMAND, {})


def test_jobs_are_held_changed_released_and_known_again(client):
    submission = client.submit_job(f"{PROJECT}/held", COMMAND, SMALL, held=True, name="held one")
    (job_id,) = submission.job_ids
    assert client.job(job_id).state == "HELD"
    again = client.submit_job(f"{PROJECT}/held", COMMAND, SMALL)
    assert again.jobs == [] and again.duplicates[0]["job_id"] == job_id and again.duplicates[0]["hint"]
    assert client.set_priority(submission, 300).changed == 1
    assert client.tag(submission, "x", remove=["y"]).changed == 1
    assert client.cancel(f"{PROJECT}/held", dry_run=True).changed == 1
    job = client.job(job_id)
    assert (job.priority, job.tags, job.state) == (300, ["x"], "HELD")
    assert client.wait(submission, timeout=5, progress=False).states == {"HELD": 1}
    assert client.release(filter={"tags": ["x"]}).changed == 1
    assert client.wait(submission, timeout=60, progress=False).states == {"COMPLETED": 1}
    unchanged = client.cancel(job_id)
    assert unchanged.changed == 0 and unchanged.unchanged[0]["job_id"] == job_id and unchanged.unchanged[0]["reason"]


def test_a_job_that_fails_says_why_and_runs_again(client):
    submission = client.submit_job(f"{PROJECT}/failing", ["python3", "-c", "print('starting'); raise ImportError(\"No module named 'torch'\")"], {})
    progress = client.wait(submission, timeout=60, progress=False)
    assert (progress.states, progress.eta_seconds) == ({"FAILED": 1}, 0)
    job = client.jobs(submission)[0]
    assert job.failure_class and job.advice
    assert "No module named 'torch'" in job.evidence and job.evidence in job.why
    assert "torch" in job._repr_html_()
    assert "starting" in client.log(job)
    assert "ImportError" in client.log(job.id, stream="stderr")
    assert client.retry(submission, dry_run=True).changed == 1
    assert f'client.retry("{job.id}") runs it again' in client.submit_job(f"{PROJECT}/failing", job_command(client, job), {}).duplicates[0]["hint"]


def job_command(client, job):
    return client.graphql("query Command($id: ID!) { job(id: $id) { command } }", id=job.id)["job"]["command"]


def test_hints_of_the_server_are_told_in_the_words_of_the_client(client, sweep):
    again = client.submit_job(EXPERIMENT, job_command(client, client.jobs(sweep)[0]), client.jobs(sweep)[0].config)
    assert 'on_duplicate="RUN_AGAIN" runs it once more' in again.duplicates[0]["hint"]
    assert {each["reason"] for each in client.retry(sweep).unchanged} == {'has completed; submit it with on_duplicate="RUN_AGAIN" to run it once more'}


def test_what_a_job_logs_and_saves_comes_back(client):
    program = """
import expgraph, pathlib
config = expgraph.config({"steps": 3})
for step in range(config["steps"]):
    expgraph.log({"loss": 1 / (step + 1), "grad": {"norm": step}, "odd": float("nan")}, step=step, phase="train")
saved = pathlib.Path(expgraph.this_job().checkpoints_directory) / "model.pt"
saved.write_bytes(b"weights")
expgraph.checkpoint(saved, step=2, epoch=0.5, metrics={"val/loss": 0.25}, aliases=["chosen"])
"""
    site = str(Path(expgraph.__file__).parents[1])
    submission = client.submit_job(f"{PROJECT}/logging", [sys.executable, "-c", program], {"steps": 5}, environment={"PYTHONPATH": site})
    assert client.wait(submission, timeout=60, progress=False).states == {"COMPLETED": 1}, client.log(submission.job_ids[0], stream="stderr")
    table = client.metrics(submission, form="table")
    points = {(row["key"], row["step"]): row["value"] for row in table}
    assert [points["train/loss", step] for step in range(5)] == [1 / (step + 1) for step in range(5)]
    assert points["train/grad/norm", 4] == 4
    assert math.isnan(points["train/odd", 0])
    checkpoint = client.best_checkpoint(submission, "val/loss", "min")
    assert (Path(checkpoint.path).name, checkpoint.step, checkpoint.epoch, checkpoint.metrics["val/loss"]) == ("model.pt", 2, 0.5, 0.25)
    assert "chosen" in checkpoint.aliases


def test_waiting_ends_at_its_timeout_and_leaves_the_jobs_alone(client):
    submission = client.submit_job(f"{PROJECT}/long", ["sleep", "600"], {})
    with pytest.raises(TimeoutError, match="1 of 1 jobs"):
        client.wait(submission, timeout=1, progress=False)
    assert client.cancel(submission).changed == 1
    assert client.wait(submission, timeout=60, progress=False).states == {"CANCELLED": 1}


def test_waiting_shows_a_progress_bar(client, capsys):
    pytest.importorskip("tqdm")
    client.wait(client.submit_job(f"{PROJECT}/bar", ["true"], {}), timeout=60)
    assert "1/1" in capsys.readouterr().err


def test_a_change_of_everything_has_to_be_asked_for(client):
    for filter in (None, {}):
        with pytest.raises(ExpgraphError, match="say which jobs"):
            client.cancel(filter=filter)


def test_graphql_takes_variables_and_tells_the_code_of_an_error(client):
    assert client.graphql("query Job($id: ID!) { job(id: $id) { id } }", id="0190a0c0-0000-7000-8000-000000000001") == {"job": None}
    with pytest.raises(ExpgraphError) as raised:
        client.graphql("{ nonsense }")
    assert "nonsense" in raised.value.message and raised.value.code
    assert isinstance(raised.value, expgraph.ExpgraphError)
