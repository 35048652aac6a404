"""Tables of results, histories and rankings, read page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import ExpgraphError
from .exports import json_rows, pieces, places
from .history import Attempts, history_types
from .pages import pages
from .records import CHECKPOINT_FIELDS, Checkpoint
from .scope import Scope
from .table import Table, flatten
from .transport import Transport

HISTORY_PAGE_SIZE = 200
"""Jobs whose histories are asked for at once; fewer where their points are too many for one answer."""

_RESULTS = """query Results($filter: ResultFilter, $orderBy: [ResultOrder!], $metric: String, $goal: Goal, $first: Int, $after: String) {
  page: results(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
    nodes {
      metrics
      job {
        id name state tags config storagePath startedAt finishedAt sweep { id }
        bestCheckpoint(metric: $metric, goal: $goal) { path uri state step epoch }
      }
    }
    pageInfo { endCursor hasNextPage }
  }
}"""
_SERIES = "metrics(keys: $keys, maxPoints: $maxPoints) { key attempt steps times values nonFinite { index value } sampled }"
_METRICS = """query Metrics($filter: JobFilter, $keys: [String!], $maxPoints: Int, $first: Int, $after: String) {
  page: jobs(filter: $filter, first: $first, after: $after) {
    nodes { id %s }
    pageInfo { endCursor hasNextPage }
  }
}"""
_METRICS_OF = {"last": _METRICS % _SERIES, "all": _METRICS % f"attempts {{ {_SERIES} }}"}
_LEADERBOARD = f"""query Leaderboard($ids: [ID!], $metric: String, $goal: Goal, $groupBy: [String!], $states: [JobState!], $first: Int) {{
  experiments(filter: {{ ids: $ids }}, first: 1) {{ nodes {{
    leaderboard(metric: $metric, goal: $goal, groupBy: $groupBy, states: $states, first: $first) {{
      rank config mean standardDeviation n bestValue step job {{ id }} checkpoint {{ {CHECKPOINT_FIELDS} }}
    }}
  }} }}
}}"""
_BEST_OF_JOBS = f"""query BestOfJobs($filter: JobFilter, $metric: String, $goal: Goal, $first: Int, $after: String) {{
  page: jobs(filter: $filter, first: $first, after: $after) {{
    nodes {{
      experiment {{ objective {{ metric goal }} }}
      bestCheckpoint(metric: $metric, goal: $goal) {{ {CHECKPOINT_FIELDS} }}
    }}
    pageInfo {{ endCursor hasNextPage }}
  }}
}}"""
_BEST = {
    "experiment": f"""query BestOfExperiment($ids: [ID!], $metric: String, $goal: Goal) {{
  among: experiments(filter: {{ ids: $ids }}, first: 1) {{ nodes {{ bestCheckpoint(metric: $metric, goal: $goal) {{ {CHECKPOINT_FIELDS} }} }} }}
}}""",
    "sweep": f"""query BestOfSweep($id: ID!, $metric: String, $goal: Goal) {{
  among: sweep(id: $id) {{ bestCheckpoint(metric: $metric, goal: $goal) {{ {CHECKPOINT_FIELDS} }} }}
}}""",
}
_EXPORTED = {name: f"job.{name.removeprefix('job_')}" for name in ("job_id", "name", "state", "started_at", "finished_at", "sweep_id", "directory")}
"""The columns of an export that are called otherwise here."""
_RESULT_COLUMNS = (
    "job.id", "job.name", "job.state", "tags", "checkpoint.path", "checkpoint.uri", "checkpoint.state", "checkpoint.step", "checkpoint.epoch",
    "job.started_at", "job.finished_at", "job.sweep_id", "job.directory",
)
"""Those that every job has."""
_LEADERBOARD_COLUMNS = ("mean", "standard_deviation", "n", "best_value", "step", "job.id", "checkpoint.path", "checkpoint.state")
_NON_FINITE = {"NAN": float("nan"), "POSITIVE_INFINITY": float("inf"), "NEGATIVE_INFINITY": float("-inf")}


def read_results(
    transport: Transport, scope: Scope, conditions: Mapping[str, Any], metric: str | None, goal: str | None, named: Sequence[str] = ()
) -> Table:
    """A row for each completed job that passes the filter, those first that ended first; ``named`` are columns that are there in any case."""
    asked = [(name, value) for name, value in (("metric", metric), ("goal", goal and goal.lower())) if value is not None]
    rows: list[dict[str, Any]] = []
    for path, parameters in places(transport, scope, conditions, "results"):
        for some in pieces(transport, f"{path}.jsonl", [*parameters, *asked], json_rows):
            rows += [{_EXPORTED.get(name, name): value for name, value in row.items()} for row in some]
    rows.sort(key=lambda row: (row["job.finished_at"], row["job.id"]))
    return _results_table(rows, named)


def read_ordered_results(
    transport: Transport, jobs: Mapping[str, Any], order_by: list[dict[str, Any]], metric: str | None, goal: str | None, named: Sequence[str] = ()
) -> Table:
    """The same in an order that the server knows, page by page."""
    variables = {"filter": {"jobs": jobs}, "orderBy": order_by, "metric": metric, "goal": goal}
    return _results_table([_result_row(node) for node in pages(transport, _RESULTS, variables)], named)


def _results_table(rows: list[dict[str, Any]], named: Sequence[str]) -> Table:
    """Columns of one kind stand together, by name where they are the job's own."""
    table = Table.of_rows(rows, types={"job.started_at": "time", "job.finished_at": "time"}, columns=[*_RESULT_COLUMNS, *named])
    groups = ["job.id", "job.name", "job.state", "tags", "config.", "metrics.", "checkpoint.", "job."]
    rank = {name: next(index for index, group in enumerate(groups) if name.startswith(group)) for name in table.columns}
    return table.select(sorted(table.columns, key=lambda name: (rank[name], name if name.startswith(("config.", "metrics.")) else "")))


def _result_row(node: Mapping[str, Any]) -> dict[str, Any]:
    job, checkpoint = node["job"], node["job"]["bestCheckpoint"] or {}
    return {
        "job.id": job["id"],
        "job.name": job["name"],
        "job.state": job["state"],
        "tags": job["tags"],
        **flatten(job["config"], "config."),
        **{f"metrics.{name}": value for name, value in node["metrics"].items()},
        **{f"checkpoint.{name}": checkpoint.get(name) for name in ("path", "uri", "state", "step", "epoch")},
        "job.started_at": job["startedAt"],
        "job.finished_at": job["finishedAt"],
        "job.sweep_id": (job["sweep"] or {}).get("id"),
        "job.directory": job["storagePath"],
    }


def read_sampled_metrics(
    transport: Transport, jobs: Mapping[str, Any], keys: list[str] | None, max_points: int, attempts: Attempts = "last"
) -> Table:
    """A row for each point: ``job_id``, ``key``, ``step``, ``time``, ``value``, of all attempts also ``attempt``; of a longer history a sample."""
    types = history_types(attempts)
    columns: dict[str, list[Any]] = {name: [] for name in types}
    sampled = False
    variables = {"filter": jobs, "keys": keys, "maxPoints": max_points}
    for job in pages(transport, _METRICS_OF[attempts], variables, HISTORY_PAGE_SIZE):
        for series in (series for part in job.get("attempts", [job]) for series in part["metrics"]):
            values = series["values"]
            for point in series["nonFinite"]:
                values[point["index"]] = _NON_FINITE[point["value"]]
            columns["job_id"] += [job["id"]] * len(values)
            columns["key"] += [series["key"]] * len(values)
            columns["step"] += series["steps"]
            columns["time"] += series["times"]
            columns["value"] += [float(value) for value in values]
            if attempts == "all":
                columns["attempt"] += [series["attempt"]] * len(values)
            sampled = sampled or series["sampled"]
    return Table(columns, types=types, attributes={"sampled": sampled})


def read_leaderboard(transport: Transport, experiment_id: str, **arguments: Any) -> list[dict[str, Any]]:
    """The rows of ``Experiment.leaderboard``, best first."""
    nodes = transport.request(_LEADERBOARD, {"ids": [experiment_id], **arguments})["experiments"]["nodes"]
    if not nodes:
        raise ExpgraphError(f"there is no experiment {experiment_id}", code="NOT_FOUND")
    rows: list[dict[str, Any]] = nodes[0]["leaderboard"]
    return rows


def leaderboard_table(rows: list[dict[str, Any]], group_by: Sequence[str]) -> Table:
    """The rows as a table, with a column for each configuration value, and for each key they are grouped by."""
    config = [f"config.{key}" for key in group_by]
    return Table.of_rows(
        [
            {
                "rank": row["rank"],
                **flatten(row["config"], "config."),
                "mean": row["mean"],
                "standard_deviation": row["standardDeviation"],
                "n": row["n"],
                "best_value": row["bestValue"],
                "step": row["step"],
                "job.id": (row["job"] or {}).get("id"),
                "checkpoint.path": (row["checkpoint"] or {}).get("path"),
                "checkpoint.state": (row["checkpoint"] or {}).get("state"),
            }
            for row in rows
        ],
        types={"mean": "number", "standard_deviation": "number", "best_value": "number"},
        columns=["rank", *config] if rows else ["rank", *config, *_LEADERBOARD_COLUMNS],
    )


def read_best_checkpoint(transport: Transport, scope: Scope, metric: str | None, goal: str | None) -> Checkpoint:
    """The best checkpoint of an experiment, a sweep or some jobs, among those that exist."""
    asked = {"metric": metric, "goal": goal}
    if scope.kind == "jobs":
        found = _best_of_jobs(pages(transport, _BEST_OF_JOBS, {"filter": scope.filter(), **asked}), metric, goal)
    else:
        among = transport.request(_BEST[scope.kind], {"id": scope.ids[0], "ids": scope.ids, **asked})["among"]
        [parent] = among["nodes"] if scope.kind == "experiment" else [among]
        found = parent["bestCheckpoint"]
    if found is None:
        why = "" if metric else " Or nobody said what best means: then give metric=... and goal=..."
        raise ExpgraphError(f"there is no best checkpoint: none was saved{f' with {metric!r}' if metric else ''} yet.{why}", code="NOT_FOUND")
    return Checkpoint.of(found)


def _best_of_jobs(jobs: Iterator[dict[str, Any]], metric: str | None, goal: str | None) -> dict[str, Any] | None:
    """The best of each job's best; one without a value counts only where none has one."""
    best: tuple[float, dict[str, Any] | None] = (float("-inf"), None)
    for job in jobs:
        checkpoint, objective = job["bestCheckpoint"], job["experiment"]["objective"] or {}
        if checkpoint is None:
            continue
        values = {each["key"]: each["value"] for each in checkpoint["metrics"]}
        value = values.get(metric or objective.get("metric"))
        merit = float("-inf") if value is None else value if (goal or objective.get("goal")) == "MAX" else -value
        if best[1] is None or merit > best[0]:
            best = (merit, checkpoint)
    return best[1]
