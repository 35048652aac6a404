"""Metric histories: exactly what was logged, the same with pyarrow and without, through lost connections."""

import json
import math
import sys
import urllib.request
import warnings

import pytest
from conftest import EXPERIMENT, validation

from expgraph import Client, ExpgraphError, exports

pandas = pytest.importorskip("pandas")
TYPES = {"job_id": "category", "key": "category", "step": "int64", "time": "datetime64[ms, UTC]", "value": "float64"}
LONG = 120_000


@pytest.fixture(params=["with pyarrow", "without pyarrow"])
def reader(request, monkeypatch):
    """Whether pyarrow can be had."""
    if request.param == "without pyarrow":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    return request.param


@pytest.fixture(scope="module")
def long_history(client, sweep):
    """A job with a history of more points than any page holds, and with what JSON has no numbers for."""
    job = client.jobs(sweep)[1]
    values = [float(step % 1000) / 7 for step in range(LONG)]
    values[50_001], values[50_002], values[50_003] = "NaN", "Infinity", "-Infinity"
    lines = [
        json.dumps({"job_id": job.id, "key": "long history", "steps": list(range(start, start + 1000)), "values": values[start:start + 1000],
                    "times": [1_760_000_000 + step for step in range(start, start + 1000)]})
        for start in range(0, LONG, 1000)
    ]
    headers = {"Authorization": f"Bearer {client._transport._token}", "Content-Type": "application/x-ndjson"}
    url = client._transport.url.replace("/graphql", "/ingest/metrics")
    with urllib.request.urlopen(urllib.request.Request(url, "\n".join(lines).encode(), headers)) as response:
        assert json.load(response)["pointCount"] == LONG
    return job, [float(value) for value in values]


def test_metrics_are_the_points_that_the_trainer_wrote(client, sweep):
    frame = client.metrics(EXPERIMENT, "val/loss")
    assert list(frame.columns) == ["job_id", "key", "step", "time", "value"]
    assert [str(frame[name].dtype) for name in ("step", "value")] == ["int64", "float64"]
    assert frame.attrs == {"sampled": False}
    directories = client.results(EXPERIMENT).set_index("job.id")["job.directory"]
    for job_id, points in frame.groupby("job_id"):
        assert list(zip(points["step"], points["value"])) == validation(directories[job_id])


def test_metrics_of_some_jobs_and_all_keys(client, sweep):
    job = client.jobs(sweep, filter={"config.seed": 0})[0]
    frame = client.metrics(job)
    assert set(frame["key"]) >= {"train/loss", "val/loss", "val/accuracy"}
    assert set(frame["job_id"]) == {job.id}
    assert set(client.metrics([job.id], ["val/loss", "val/accuracy"])["key"]) == {"val/loss", "val/accuracy"}


def test_long_histories_are_sampled_where_asked_and_that_is_said(client, sweep):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = client.metrics(sweep, "train/loss", max_points=10)
    assert frame.attrs["sampled"] is True
    assert frame.groupby("job_id").size().max() <= 10


@pytest.fixture(scope="module")
def second_attempt(client):
    """A job whose second attempt logged again what the first had logged from step 3 on."""
    job_id = client.submit_job("tests/attempts", ["false"], {}).job_ids[0]
    client.wait(job_id, progress=False)
    client.retry(job_id)
    client.wait(job_id, progress=False)
    record = "mutation Record($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount userErrors { message } } }"
    for attempt, steps, values in [(1, [1, 3, 4], [9, 7, 6]), (2, [3, 5], [0.7, 0.5])]:
        series = [{"key": "loss", "steps": steps, "values": values}]
        assert client.graphql(record, input={"jobId": job_id, "attempt": attempt, "series": series})["recordMetrics"]["pointCount"] == len(steps)
    return job_id


def test_each_attempt_has_a_history_of_its_own(client, second_attempt, reader):
    together = client.metrics(second_attempt, "loss")
    assert list(zip(together["step"], together["value"])) == [(1, 9), (3, 0.7), (4, 6), (5, 0.5)]
    each = client.metrics(second_attempt, "loss", attempts="all")
    assert {name: str(dtype) for name, dtype in each.dtypes.items()} == {**TYPES, "attempt": "int64"}
    assert list(zip(each["attempt"], each["step"], each["value"])) == [(1, 1, 9), (1, 3, 7), (2, 3, 0.7), (1, 4, 6), (2, 5, 0.5)]
    sampled = client.metrics(second_attempt, "loss", attempts="all", max_points=2)
    assert sampled.attrs["sampled"] is True
    assert list(zip(sampled["attempt"], sampled["step"], sampled["value"])) == [(1, 1, 9), (1, 4, 6), (2, 3, 0.7), (2, 5, 0.5)]


def test_non_finite_values_arrive_as_they_were_logged(client, sweep):
    job = client.jobs(sweep)[0]
    values = {"key": "odd", "steps": [1, 2, 3, 4], "values": [None, 1.5, None, None]}
    non_finite = [{"index": 0, "value": "NAN"}, {"index": 2, "value": "POSITIVE_INFINITY"}, {"index": 3, "value": "NEGATIVE_INFINITY"}]
    record = "mutation Record($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount userErrors { message } } }"
    assert client.graphql(record, input={"jobId": job.id, "series": [{**values, "nonFinite": non_finite}]})["recordMetrics"]["pointCount"] == 4
    recorded = list(client.metrics(job, "odd")["value"])
    assert math.isnan(recorded[0])
    assert recorded[1:] == [1.5, math.inf, -math.inf]


def test_a_history_of_any_length_comes_whole(client, long_history, reader):
    job, values = long_history
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = client.metrics(job, "long history")
    assert frame.attrs == {"sampled": False}
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TYPES
    assert list(frame["step"]) == list(range(LONG))
    pandas.testing.assert_series_equal(frame["value"], pandas.Series(values, name="value"))
    assert str(frame["time"].iloc[-1]) == str(pandas.Timestamp(1_760_000_000 + LONG - 1, unit="s", tz="UTC"))


def test_a_lost_connection_is_gone_on_with_where_it_broke(client, long_history, proxy, reader):
    job, values = long_history
    behind = Client(proxy.url, client._transport._token)
    # As Arrow a page of 50,000 points has 1.8 MB: so each connection brings one, and never the rest with it.
    proxy.cut_after_bytes = 2_000_000
    frame = behind.metrics(job, "long history")
    assert proxy.connections >= 3
    assert list(frame["step"]) == list(range(LONG))
    pandas.testing.assert_series_equal(frame["value"], pandas.Series(values, name="value"))


def test_a_server_that_stays_away_is_an_error(client, long_history, proxy, reader, monkeypatch):
    job, _ = long_history
    monkeypatch.setattr(exports, "FIRST_RETRY_SECONDS", 0.001)
    behind = Client(proxy.url, client._transport._token)
    proxy.cut_after_bytes = 100_000
    with pytest.raises(ExpgraphError, match="no answer") as raised:
        behind.metrics(job, "long history")
    assert raised.value.code == "UNREACHABLE"


def test_all_forms_are_the_same_with_pyarrow_and_without(client, sweep, monkeypatch):
    keys = ["val/loss", "train/loss"]
    frame, polars, arrow, table = (client.metrics(EXPERIMENT, keys, form=form) for form in ("pandas", "polars", "arrow", "table"))
    sampled = client.metrics(EXPERIMENT, keys, max_points=10_000)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    pandas.testing.assert_frame_equal(frame, client.metrics(EXPERIMENT, keys), check_categorical=False)
    assert [str(dtype) for dtype in frame.dtypes] == [str(dtype) for dtype in sampled.dtypes] == list(TYPES.values())
    plain = client.metrics(EXPERIMENT, keys, form="polars")
    assert plain.schema == polars.schema and plain.equals(polars)
    monkeypatch.undo()
    schema = client.metrics(EXPERIMENT, keys, max_points=10_000, form="arrow").schema
    assert (arrow.schema.names, arrow.schema.types) == (schema.names, schema.types)
    assert [list(row.values()) for row in table] == [list(row.values()) for row in arrow.to_pylist()] == [list(row) for row in polars.rows()]


def test_where_nothing_is_found_the_table_is_empty_and_of_the_same_types(client, sweep, reader):
    for frame in (client.metrics([], "val/loss"), client.metrics(sweep, "val/loss", filter={"name": "no such job"})):
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TYPES
        assert frame.empty
    for options in ({}, {"max_points": 10}):
        assert client.metrics(sweep, [], **options).empty


def test_a_metric_that_no_job_has_is_an_error_that_names_near_ones(client, sweep):
    for meant in (EXPERIMENT, sweep, client.jobs(sweep)[0]):
        with pytest.raises(ExpgraphError, match="did you mean val/loss"):
            client.metrics(meant, "val/los")


def test_what_does_not_fit_into_one_address_is_asked_for_in_parts(client, sweep, reader, monkeypatch):
    keys = ["val/loss", "val/accuracy", "train/loss"]
    order = ["job_id", "key", "step"]
    whole = client.metrics(EXPERIMENT, keys)
    monkeypatch.setattr(exports, "JOBS_IN_AN_ADDRESS", 2)
    monkeypatch.setattr(exports, "MAX_ADDRESS_CHARACTERS", 30)
    for part in (client.metrics(EXPERIMENT, keys, filter={"config.seed": [0, 1, 2]}), client.metrics(client.jobs(sweep), keys)):
        assert sorted(map(tuple, part[order].values)) == sorted(map(tuple, whole[order].values))
