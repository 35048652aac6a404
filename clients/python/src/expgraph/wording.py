"""What Python says, as the server's inputs say it: filters, sort keys, and names in its spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from .errors import ExpgraphError

_COMPARISONS = ("eq", "ne", "in", "lt", "lte", "gt", "gte", "exists")
_TIME_RANGES = ("createdAt", "startedAt", "finishedAt")


def camel(name: str) -> str:
    """``time_limit_minutes`` -> ``timeLimitMinutes``."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def camel_keys(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The mapping with its own keys (not those further inside) in the server's spelling."""
    return None if values is None else {camel(name): value for name, value in values.items()}


def given(**values: Any) -> dict[str, Any]:
    """The arguments that are not None, in the server's spelling: what is left out is left to the server."""
    return {camel(name): value for name, value in values.items() if value is not None}


def job_filter(conditions: Mapping[str, Any] | None) -> dict[str, Any]:
    """A ``JobFilter`` of the schema.

    ``{"config.optim.lr": 0.1}``, ``{"config.model": ["a", "b"]}`` (one of these) and ``{"config.depth": {"gte": 3}}`` compare
    configuration values; ``{"metrics.val/loss": {"lt": 0.5}}`` compares metrics; ``state``/``states``, ``tags`` (all of them),
    ``name`` (part of it) and every field of ``JobFilter``, such as ``tags_any`` or ``finished_at``, are taken, too.
    """
    result: dict[str, Any] = {}
    for name, value in (conditions or {}).items():
        if name.startswith("config."):
            result.setdefault("config", []).append(_config_condition(name[7:], value))
        elif name.startswith("metrics."):
            result.setdefault("metrics", []).append(_metric_condition(name[8:], value))
        elif name in ("state", "states"):
            result["states"] = [str(state).upper() for state in _listed(value)]
        elif name == "tags":
            result["tagsAll"] = _listed(value)
        elif name == "name":
            result["nameContains"] = value
        elif camel(name) in _TIME_RANGES:
            result[camel(name)] = _time_range(value)
        else:
            result[camel(name)] = value
    return result


def result_order(keys: str | Iterable[str] | None) -> list[dict[str, Any]]:
    """Sort keys of results: names of columns, with ``-`` in front for the greatest first."""
    orders = []
    for key in _listed(keys or []):
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
            raise ExpgraphError(message, code="BAD_USER_INPUT")
        orders.append(order)
    return orders


def objective(value: tuple[str, str] | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """``("val/loss", "min")`` as an ``ObjectiveInput``."""
    if value is None or isinstance(value, Mapping):
        return None if value is None else dict(value)
    metric, which = value
    return {"metric": metric, "goal": goal(which)}


def goal(which: str | None) -> str | None:
    """``min`` and ``max`` in the server's spelling."""
    if which is None or which.upper() in ("MIN", "MAX"):
        return which and which.upper()
    raise ExpgraphError(f'a goal is "min" or "max", not {which!r}', code="BAD_USER_INPUT")


def _config_condition(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {"key": key, **_comparisons(f"config.{key}", value, _COMPARISONS)}
    return {"key": key, "in": list(value)} if isinstance(value, (list, tuple, set)) else {"key": key, "eq": value}


def _metric_condition(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        named = {name: text.upper() if name == "at" else text for name, text in value.items()}
        return {"key": key, **_comparisons(f"metrics.{key}", named, ("lt", "lte", "gt", "gte", "at"))}
    message = f'metrics.{key} needs a comparison, such as {{"lt": {value!r}}}: floating point numbers are seldom equal'
    raise ExpgraphError(message, code="BAD_USER_INPUT")


def _comparisons(name: str, value: Mapping[str, Any], known: Sequence[str]) -> Mapping[str, Any]:
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ExpgraphError(f"{name} has no comparison {', '.join(unknown)}; there are {', '.join(known)}", code="BAD_USER_INPUT")
    return value


def _time_range(value: Any) -> Any:
    """``(from, to)``, or one moment: from then on."""
    if isinstance(value, Mapping):
        return value
    start, end = (value, None) if isinstance(value, (str, datetime)) else value
    return given(**{"from": start, "to": end})


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
