"""What a training run logs is in its files, whatever happens to the run, and the run goes on, whatever happens to the files."""

import os
import signal
import subprocess
import sys
import time

import pytest

import expgraph


def run_python(program, **options):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, **options)


def test_lines_are_written_while_the_program_runs(job):
    expgraph.log({"loss": 0.5}, step=1)
    expgraph.log({"loss": 0.25}, step=2, phase="val")
    assert expgraph.flush()
    assert [(line["step"], line.get("phase"), line["loss"]) for line in job.lines()] == [(1, None, 0.5), (2, "val", 0.25)]


def test_what_was_logged_last_is_written_at_the_end_of_the_program(job):
    job.run("""
        import expgraph
        for step in range(5000):
            expgraph.log({"loss": 1 / (step + 1)}, step=step)
    """)
    assert [line["step"] for line in job.lines()] == list(range(5000))


def test_what_was_logged_before_an_exception_is_written(job):
    failed = job.run("import expgraph; expgraph.log({'loss': 1}, step=1); raise SystemExit(3)", check=False)
    assert failed.returncode == 3
    assert len(job.lines()) == 1


@pytest.mark.parametrize(
    ("ranks", "logs"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "3"}, True),
        ({"SLURM_PROCID": "1"}, False),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "16"}, True),
        ({}, True),
    ],
)
def test_only_rank_0_logs(job, ranks, logs):
    job.run("import expgraph; expgraph.log({'loss': 1}, step=1)", **ranks)
    assert len(job.lines()) == (1 if logs else 0)


def test_other_ranks_log_when_asked(job):
    job.run("import expgraph; expgraph.log({'rank3/memory': 1}, step=1, all_ranks=True)", RANK="3", WORLD_SIZE="4")
    assert len(job.lines()) == 1


def test_an_unwritable_file_costs_one_warning_and_no_run(job):
    ended = job.run("""
        import os, expgraph
        os.environ["EXPGRAPH_METRICS"] = "/nowhere/metrics.jsonl"
        for step in range(3):
            expgraph.log({"loss": 1}, step=step)
            expgraph.flush()
        print("trained")
    """)
    assert ended.stdout == "trained\n"
    assert ended.stderr.count("cannot write /nowhere/metrics.jsonl (No such file or directory)") == 1
    assert "3 lines could not be written" in ended.stderr


def test_a_full_disk_loses_no_line_once_there_is_room_again(job):
    # A limit on the size of files fails a write in the middle of a line, as a full disk does.
    ended = job.run("""
        import json, resource, signal, expgraph
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        for step in range(1000):
            expgraph.log({"loss": 0.125}, step=step)
        assert not expgraph.flush(30)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert expgraph.flush(30)
    """)
    assert [line["step"] for line in job.lines()] == list(range(1000))
    assert ended.stderr.count("cannot write") == 1
    assert "can be written again; 0 lines were lost" in ended.stderr


def test_half_a_line_that_somebody_else_wrote_after_is_lost_alone(job):
    ended = job.run("""
        import os, resource, signal, expgraph
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        for step in range(1000):
            expgraph.log({"loss": 0.125}, step=step)
        assert not expgraph.flush(30)
        print(not open(os.environ["EXPGRAPH_METRICS"]).read().endswith("\\n"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with open(os.environ["EXPGRAPH_METRICS"], "a") as file: file.write('\\n{"other": 1}\\n')
        assert expgraph.flush(30)
    """)
    whole = [line for line in (job.path / "metrics.jsonl").read_text().splitlines() if line.endswith("}") and line.startswith("{")]
    # Once in a while the limit lies between two lines.
    lost = 1 if ended.stdout == "True\n" else 0
    assert len(whole) == 1000 + 1 - lost


def test_memory_is_bounded_while_nothing_can_be_written(job):
    ended = job.run("""
        import os, resource, expgraph
        from expgraph import line_file
        line_file.MAX_WAITING_BYTES = 1024 * 1024
        os.environ["EXPGRAPH_METRICS"] = "/nowhere/metrics.jsonl"
        name = "k" * 200
        for step in range(100):
            expgraph.log({name: step}, step=step)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for step in range(40_000):
            expgraph.log({name: step}, step=step)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        print(grown < 4 * line_file.MAX_WAITING_BYTES, grown)
    """)
    assert ended.stdout.startswith("True"), ended.stdout
    assert "40100 lines could not be written" in ended.stderr


def test_a_call_takes_microseconds(job):
    expgraph.log({"warm": 1})
    begun = time.thread_time()
    for step in range(2000):
        expgraph.log({"loss": 0.5, "accuracy": 0.25, "lr": 1e-3}, step=step, phase="train")
    # Some 20 microseconds, of this thread alone: how long it waits for its turn is up to the machine.
    assert (time.thread_time() - begun) / 2000 < 500e-6
    assert expgraph.flush()


def test_bad_values_are_said_once_and_never_raise(job, caplog):
    for step in range(3):
        expgraph.log({"note": "text", "loss": 1}, step=step)
        expgraph.log("nothing")
        expgraph.log({"loss": 1}, step=object())
        expgraph.checkpoint(None)
    assert expgraph.flush()
    assert len(job.lines()) == 3
    assert sum("'note' is not a number" in record.message for record in caplog.records) == 1
    assert sum("log takes a dict" in record.message for record in caplog.records) == 1
    assert sum("checkpoint failed" in record.message for record in caplog.records) == 1


def test_outside_of_a_job_nothing_is_written_and_that_is_said_once(tmp_path):
    program = "import expgraph; [expgraph.log({'loss': 1}) for _ in 'ab']; expgraph.checkpoint('a.pt'); print(expgraph.this_job())"
    ended = run_python(program, cwd=tmp_path, env={name: value for name, value in os.environ.items() if not name.startswith("EXPGRAPH_")})
    assert ended.stdout == "None\n"
    assert ended.stderr.count("nothing is logged") == 1
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_recorded_with_paths_that_the_server_can_find(job, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("scratch")
    monkeypatch.chdir(job.path / "checkpoints")
    expgraph.checkpoint("epoch=1.pt", step=500, epoch=1, metrics={"val/loss": 0.25, "bad": "x", "nan": float("nan")}, aliases=["best"])
    expgraph.checkpoint(elsewhere / "model", 600)
    assert expgraph.flush()
    first, second = job.lines("checkpoints.jsonl")
    assert {key: first[key] for key in ("path", "step", "epoch", "metrics", "aliases")} == {
        "path": "checkpoints/epoch=1.pt", "step": 500, "epoch": 1, "metrics": {"val/loss": 0.25}, "aliases": ["best"],
    }
    assert (second["path"], second["step"], second["epoch"]) == (str(elsewhere / "model"), 600, None)
    assert first["time"].endswith("Z")


def test_a_checkpoint_is_known_though_the_process_is_killed_right_after(job):
    ended = job.run("""
        import os, signal, expgraph
        from expgraph import job_log
        job_log.CHECKPOINT_FLUSH_SECONDS = 60
        for step in range(3):
            expgraph.checkpoint(f"checkpoints/{step}.pt", step=step)
        os.kill(os.getpid(), signal.SIGKILL)
    """, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert [line["step"] for line in job.lines("checkpoints.jsonl")] == [0, 1, 2]


def test_the_job_and_its_configuration(job, monkeypatch):
    assert expgraph.config() == {"optim": {"lr": 0.1}, "seed": 3}
    assert expgraph.config({"optim.lr": 1, "optim.momentum": 0.9, "model": {"depth": 2}}) == {
        "optim": {"lr": 0.1, "momentum": 0.9}, "model": {"depth": 2}, "seed": 3,
    }
    this = expgraph.this_job()
    assert (this.project, this.experiment, this.attempt, this.resume_checkpoint) == ("vision", "resnet", 2, None)
    monkeypatch.delenv("EXPGRAPH_JOB_DIR")
    assert expgraph.config({"optim.lr": 1}) == {"optim": {"lr": 1}}
    with pytest.raises(expgraph.ExpgraphError, match="not a job of expgraph") as raised:
        expgraph.config()
    assert raised.value.code == "NOT_IN_JOB"


def test_importing_it_imports_nothing_heavy():
    heavy = ["pandas", "numpy", "torch", "asyncio", "polars", "pyarrow", "tqdm"]
    assert run_python(f"import sys, expgraph; print([name for name in {heavy} if name in sys.modules])").stdout == "[]\n"
