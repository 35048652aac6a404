"""Results, histories and rankings of a sweep that really ran, in the form that is at hand."""

import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from conftest import EXPERIMENT, PROJECT, validation

import expgraph

pandas = pytest.importorskip("pandas")


def test_results_are_a_data_frame_with_a_row_for_each_job(client, sweep):
    frame = client.results(EXPERIMENT)
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 6
    assert list(frame.columns[:4]) == ["job.id", "job.name", "job.state", "tags"]
    assert set(frame["job.state"]) == {"COMPLETED"}
    assert sorted(set(frame["config.optim.lr"])) == [0.003, 0.03]
    assert sorted(frame["config.seed"]) == [0, 0, 1, 1, 2, 2]
    assert frame["tags"][0] == ["demo", "optim.lr=0.003"]
    assert str(frame["job.finished_at"].dtype).startswith("datetime64") and str(frame["job.finished_at"].dt.tz) == "UTC"
    for _, row in frame.iterrows():
        assert row["metrics.val/loss"] == validation(row["job.directory"])[-1][1]
        assert Path(row["checkpoint.path"]).is_file()


def test_results_are_filtered_and_ordered_by_the_server(client, sweep):
    frame = client.results(EXPERIMENT, filter={"config.optim.lr": 0.03, "config.seed": [0, 2], "tags": ["demo"]}, order_by="-metrics.val/loss")
    assert sorted(frame["config.seed"]) == [0, 2]
    assert list(frame["metrics.val/loss"]) == sorted(frame["metrics.val/loss"], reverse=True)
    best = frame["metrics.val/loss"].min()
    assert len(client.results(EXPERIMENT, filter={"metrics.val/loss": {"lte": best}})) == 1
    ordered = client.results(EXPERIMENT, order_by=["config.optim.lr", "-config.seed"])
    assert list(ordered["config.seed"]) == [2, 1, 0, 2, 1, 0]


def test_results_in_any_order_have_the_same_columns_and_types(client, sweep):
    for options in ({}, {"metric": "val/accuracy", "goal": "max"}):
        frame = client.results(sweep, **options)
        assert frame["job.finished_at"].is_monotonic_increasing
        assert list(frame["checkpoint.uri"]) == [f"file://{path}" for path in frame["checkpoint.path"].str.replace("=", "%3D")]
        ordered = client.results(sweep, order_by="job.finished_at", **options)
        pandas.testing.assert_frame_equal(frame, ordered)
    assert len(client.results(client.jobs(sweep)[:2])) == 2


def test_results_in_the_last_hour(client, sweep):
    hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    assert len(client.results(sweep, filter={"finished_at": hour_ago})) == 6
    assert len(client.results(sweep, filter={"finished_at": (None, hour_ago)})) == 0


def test_results_without_pandas_are_rows(client, sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = client.results(sweep, filter={"config.seed": 1}, order_by="config.optim.lr")
    assert [row["config.optim.lr"] for row in table] == [0.003, 0.03]
    assert table[0]["job.finished_at"].tzinfo is not None
    assert "<th>config.optim.lr</th>" in table._repr_html_()


def test_results_in_the_other_forms(client, sweep):
    polars = client.results(sweep, form="polars")
    assert polars.shape[0] == 6 and str(polars["config.optim.lr"].dtype) == "Float64"
    arrow = client.results(sweep, form="arrow")
    assert arrow.num_rows == 6 and str(arrow.schema.field("job.finished_at").type).startswith("timestamp")


def test_a_table_without_rows_has_the_columns_of_every_job_and_those_that_were_named(client, sweep):
    own = [name for name in client.results(sweep).columns if not name.startswith(("config.", "metrics."))]
    for order in (None, ["-metrics.val/loss", "config.optim.lr", "job.name"]):
        frame = client.results(sweep, filter={"name": "no such job", "config.seed": 1}, order_by=order)
        assert frame.empty and str(frame["job.finished_at"].dtype).startswith("datetime64")
        named = ["config.seed"] if order is None else ["config.optim.lr", "config.seed", "metrics.val/loss"]
        assert list(frame.columns) == [*own[:4], *named, *own[4:]]
    ranked = client.leaderboard(EXPERIMENT, group_by="optim.lr")
    empty = client.leaderboard(EXPERIMENT, group_by="optim.lr", states="FAILED")
    assert empty.empty and list(empty.columns) == list(ranked.columns)
    for form in ("polars", "arrow", "table"):
        assert len(client.results(sweep, filter={"name": "no such job"}, form=form)) == 0


def test_pages_that_are_too_much_for_the_server_are_asked_for_by_halves(client, sweep, monkeypatch):
    from expgraph import results

    sizes = []
    request = client._transport.request

    def refuse_large(query, variables):
        sizes.append(variables["first"])
        if variables["first"] > 2:
            raise expgraph.ExpgraphError("too much", code="LIMIT_EXCEEDED")
        return request(query, variables)

    monkeypatch.setattr(client._transport, "request", refuse_large)
    monkeypatch.setattr(results, "HISTORY_PAGE_SIZE", 8)
    jobs = {"sweepIds": [sweep.id]}
    assert len(set(results.read_sampled_metrics(client._transport, jobs, ["val/loss"], 10_000).column("job_id"))) == 6
    assert sizes == [8, 4, 2, 2, 2]


def test_the_best_checkpoint_is_the_one_with_the_least_loss_of_all_that_exist(client, sweep):
    frame = client.results(sweep)
    best = min((loss, step, directory) for directory in frame["job.directory"] for step, loss in validation(directory))
    for meant in (sweep, EXPERIMENT, client.jobs(sweep)):
        checkpoint = client.best_checkpoint(meant)
        assert (checkpoint.step, checkpoint.metrics["val/loss"]) == (best[1], best[0])
        assert checkpoint.steps_apart["val/loss"] == 0
        assert checkpoint.path.startswith(best[2])
        assert json.loads(Path(checkpoint.path).read_text())["step"] == best[1]
    most_accurate = client.best_checkpoint(sweep, "val/accuracy", "max")
    worst = client.best_checkpoint(sweep, "val/loss", "max")
    assert most_accurate.metrics["val/accuracy"] >= checkpoint.metrics["val/accuracy"]
    assert worst.metrics["val/loss"] > checkpoint.metrics["val/loss"]


def test_no_best_checkpoint_is_an_error_that_says_what_to_do(client, sweep):
    with pytest.raises(expgraph.ExpgraphError) as raised:
        client.best_checkpoint(sweep, "no/such/metric", "min")
    assert raised.value.code in ("NOT_FOUND", "BAD_USER_INPUT")


def test_the_leaderboard_groups_over_seeds(client, sweep):
    frame = client.leaderboard(EXPERIMENT, group_by=["optim.lr"])
    assert list(frame["rank"]) == [1, 2]
    assert list(frame["n"]) == [3, 3]
    assert frame["mean"].is_monotonic_increasing
    assert frame["checkpoint.path"][0].endswith(".json")
    assert list(frame["checkpoint.state"]) == ["COMPLETE", "COMPLETE"]
    for meant in (client.experiment(EXPERIMENT), client.experiment(EXPERIMENT).id):
        assert len(client.leaderboard(meant, group_by="optim.lr")) == 2
    alone = client.leaderboard(EXPERIMENT)
    assert list(alone["n"]) == [1] * 6 and alone["standard_deviation"].dtype == "float64"
    with pytest.raises(expgraph.ExpgraphError, match=f'that of this one is "{EXPERIMENT}"'):
        client.leaderboard(sweep)


def test_what_is_meant_may_be_said_in_many_ways(client, sweep):
    by_name = client.experiment("three-rings", project=PROJECT)
    for meant in (EXPERIMENT, by_name, by_name.id, sweep, sweep.id):
        assert len(client.results(meant)) == 6
    job = client.jobs(by_name)[0]
    assert list(client.results(job.id)["job.id"]) == [job.id]
    assert [each.id for each in client.sweeps(by_name)] == [sweep.id]
    assert client.sweep(sweep.id).experiment == by_name
    assert client.job(job.id).config["optim"]["lr"] == job.config["optim"]["lr"]
    with pytest.raises(expgraph.ExpgraphError, match=f"there is {EXPERIMENT}") as raised:
        client.results("rings", project=PROJECT)
    assert raised.value.code == "NOT_FOUND"


def test_lists_are_tables_in_a_notebook(client, sweep):
    for records in (client.experiments(project=PROJECT), client.sweeps(EXPERIMENT), client.jobs(sweep)):
        shown = records._repr_html_()
        assert shown.startswith("<table>") and "<th>id</th>" in shown
        assert len(records.to_pandas()) == len(records)
    assert "config.optim.lr" in client.jobs(sweep).to_pandas().columns
    assert "three-rings" in client.experiment(EXPERIMENT)._repr_html_()
