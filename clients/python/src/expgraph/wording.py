"""What Python says, as the server's inputs say it, and what the server says, as Python does: filters, sort keys, hints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from . import arguments
from .arguments import camel, choice, fault, listed, mapping, number, refusal, text, texts, truth, unknown, whole

FILTER_EXAMPLE = '{"config.optim.lr": 0.1, "state": "FAILED"}'
_COMPARISONS = ("eq", "ne", "in", "lt", "lte", "gt", "gte", "exists")
_METRIC_COMPARISONS = ("lt", "lte", "gt", "gte", "at")
_TIME_RANGES = ("createdAt", "startedAt", "finishedAt")
_TEXT_LISTS = ("ids", "experimentIds", "sweepIds", "clusters", "tagsAll", "tagsAny", "tagsNone")
_TEXTS = ("project", "fingerprint", "nameContains", "slurmJobId")
_NUMBERS = ("priorityMin", "priorityMax")
_CONDITIONS = ("config", "metrics")
"""As the schema has them, for what the names of columns cannot say."""
_FILTER_NAMES = (
    "config.KEY", "metrics.NAME", "state", "tags", "tags_any", "tags_none", "name", "finished_at", "started_at", "created_at", "project", "clusters",
    "slurm_job_id", "priority_min", "priority_max", "ids", "sweep_ids", "experiment_ids", "fingerprint",
)
_SPELLINGS = (
    (re.compile(r"onDuplicate:? (SKIP|ERROR|RUN_AGAIN)"), r'on_duplicate="\1"'),
    (re.compile(r'retryJobs\(ids: \[("[^"]*")\]\)'), r"client.retry(\1)"),
    (re.compile(r'releaseJobs\(ids: \[("[^"]*")\]\)'), r"client.release(\1)"),
    (re.compile(r"ignoreArchived: true"), "ignore_archived=True"),
    (re.compile(r"submit it with RUN_AGAIN"), 'submit it with on_duplicate="RUN_AGAIN"'),
)


def in_python(words: str) -> str:
    """A hint of the server in the words of this client."""
    for spelling, replacement in _SPELLINGS:
        words = spelling.sub(replacement, words)
    return words


def job_filter(conditions: Mapping[str, Any] | None) -> dict[str, Any]:
    """A ``JobFilter`` of the schema.

    ``{"config.optim.lr": 0.1}``, ``{"config.model": ["a", "b"]}`` (one of these) and ``{"config.depth": {"gte": 3}}`` compare
    configuration values; ``{"metrics.val/loss": {"lt": 0.5}}`` compares metrics; ``state``/``states``, ``tags`` (all of them),
    ``name`` (part of it) and every field of ``JobFilter``, such as ``tags_any`` or ``finished_at``, are taken, too.
    """
    result: dict[str, Any] = {}
    given_conditions = {} if conditions is None else mapping("filter", conditions, FILTER_EXAMPLE)
    for name, value in given_conditions.items():
        argument = f'filter["{name}"]'
        field = {"state": "states", "tags": "tagsAll", "name": "nameContains"}.get(name, camel(name))
        if name.startswith("config."):
            result.setdefault("config", []).append(_config_condition(argument, name[7:], value))
        elif name.startswith("metrics."):
            result.setdefault("metrics", []).append(_metric_condition(argument, name[8:], value))
        elif field == "states":
            result[field] = arguments.choices(argument, value, arguments.JOB_STATES)
        elif field in _TEXT_LISTS:
            result[field] = texts(argument, value, '["baseline"]' if "tags" in field else '["..."]')
        elif field in _TEXTS:
            result[field] = text(argument, value)
        elif field in _NUMBERS:
            result[field] = whole(argument, value)
        elif field in _TIME_RANGES:
            result[field] = _time_range(argument, value)
        elif field in _CONDITIONS:
            result.setdefault(field, []).extend(arguments.mappings(argument, value, '{"key": "optim.lr", "lt": 0.1}'))
        else:
            raise unknown("filter", name, _FILTER_NAMES, meant=f"config.{name}" if "." in name and not name.startswith("job.") else None)
    return result


def result_order(keys: str | Iterable[str] | None) -> list[dict[str, Any]]:
    """Sort keys of results: names of columns, with ``-`` in front for the greatest first."""
    orders = []
    for key in [] if keys is None else texts("order_by", keys, '["-metrics.val/loss", "job.name"]'):
        name = key.lstrip("+-")
        order = {"direction": "DESC" if key.startswith("-") else "ASC"}
        if name.startswith("config."):
            order.update(field="CONFIG", key=name[7:])
        elif name.startswith("metrics."):
            order.update(field="FINAL_METRIC", key=name[8:])
        elif name in ("job.name", "job.finished_at"):
            order.update(field=name[4:].upper() if name == "job.finished_at" else "JOB_NAME")
        else:
            message = f"cannot sort by {name!r}; use config.KEY, metrics.NAME, job.name or job.finished_at, with - in front to reverse"
            raise fault("order_by", message)
        orders.append(order)
    return orders


def named_columns(conditions: Mapping[str, Any], order: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of configurations and metrics that a ``JobFilter`` and sort keys name."""
    filtered = [f"{kind}.{each['key']}" for kind in _CONDITIONS for each in conditions.get(kind, [])]
    kinds = {"CONFIG": "config", "FINAL_METRIC": "metrics"}
    return [*filtered, *(f"{kinds[each['field']]}.{each['key']}" for each in order if each["field"] in kinds)]


def objective(value: tuple[str, str] | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """``("val/loss", "min")`` as an ``ObjectiveInput``."""
    if value is None:
        return None
    right = 'a metric and which way is better, such as ("val/loss", "min")'
    if isinstance(value, Mapping):
        if set(value) != {"metric", "goal"}:
            raise refusal("objective", value, right)
        metric, which = value["metric"], value["goal"]
    else:
        parts = listed("objective", value, right)
        if len(parts) != 2:
            raise refusal("objective", value, right)
        metric, which = parts
    return {"metric": text("objective", metric, right), "goal": choice("objective", which, arguments.GOALS)}


def goal(which: str | None) -> str | None:
    """``min`` and ``max`` in the server's spelling."""
    return None if which is None else choice("goal", which, arguments.GOALS)


def _config_condition(argument: str, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {"key": key, "in": list(value)} if isinstance(value, (list, tuple, set, frozenset, range)) else {"key": key, "eq": value}
    named = _comparisons(argument, value, _COMPARISONS)
    for name in named:
        inside = f'{argument}["{name}"]'
        if name == "in":
            named[name] = listed(inside, named[name], "a list of values")
        elif name == "exists":
            named[name] = truth(inside, named[name])
        elif name not in ("eq", "ne"):
            named[name] = number(inside, named[name])
    return {"key": key, **named}


def _metric_condition(argument: str, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise fault(argument, f'needs a comparison, such as {{"lt": {value!r}}}: floating point numbers are seldom equal')
    named = _comparisons(argument, value, _METRIC_COMPARISONS)
    for name in named:
        inside = f'{argument}["{name}"]'
        named[name] = choice(inside, named[name], arguments.SUMMARY_POINTS) if name == "at" else number(inside, named[name])
    return {"key": key, **named}


def _comparisons(argument: str, value: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    for name in value:
        if name not in known:
            raise unknown(argument, name, known)
    return dict(value)


def _time_range(argument: str, value: Any) -> dict[str, Any]:
    """``(from, to)``, or one moment: from then on."""
    right = "a moment (from then on), or (from, to), of which one may be None"
    if isinstance(value, Mapping):
        parts = [value.get("from"), value.get("to")]
        if not value or set(value) - {"from", "to"}:
            raise refusal(argument, value, right)
    else:
        parts = [value, None] if isinstance(value, (str, datetime)) else listed(argument, value, right)
    if len(parts) != 2 or any(not isinstance(part, (str, datetime, type(None))) for part in parts):
        raise refusal(argument, value, right)
    return {name: part for name, part in zip(("from", "to"), parts) if part is not None}
