"""Inputs and answers of submissions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union

from .errors import ExpgraphError
from .records import Submission
from .wording import camel, camel_keys


@dataclass(frozen=True)
class Range:
    """Drawn evenly from ``min`` to ``max``, both included; only whole numbers where ``integer``."""

    min: float
    max: float
    integer: bool = False


@dataclass(frozen=True)
class LogRange:
    """Drawn evenly from the logarithm of ``min`` to ``max``, as for learning rates."""

    min: float
    max: float
    integer: bool = False


Values = Union[Range, LogRange, Iterable[Any]]
"""What a random draw chooses from: a range, or one of some values."""


def job_input(common: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A ``SubmitJobInput`` of the schema."""
    named = {camel(name): value for name, value in options.items()}
    for name in ("priorityRules", "retryPolicy"):
        if name in named:
            named[name] = [camel_keys(rule) for rule in named[name]]
    if "resources" in named:
        named["resources"] = camel_keys(named["resources"])
    return {name: value for name, value in {**common, **named}.items() if value is not None}


def sweep_input(common: Mapping[str, Any], space: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A ``SubmitSweepInput`` of the schema."""
    parts: dict[str, Any] = {"base": space["base"]}
    if space["list"] is not None:
        parts["list"] = list(space["list"])
    if space["grid"] is not None:
        parts["grid"] = [{"key": key, "values": list(values)} for key, values in space["grid"].items()]
    if space["seeds"] is not None:
        parts["seeds"] = {"values": list(space["seeds"]), **({"key": space["seed_key"]} if space["seed_key"] else {})}
    if space["random"] is not None:
        if space["draws"] is None:
            raise ExpgraphError("random needs draws=..., how many configurations are drawn", code="BAD_USER_INPUT")
        drawn = [_parameter(key, values) for key, values in space["random"].items()]
        parts["random"] = {"count": space["draws"], "seed": space["draw_seed"], "parameters": drawn}
    return job_input({**common, "space": {name: value for name, value in parts.items() if value is not None}}, options)


def _parameter(key: str, values: Values) -> dict[str, Any]:
    if isinstance(values, (Range, LogRange)):
        kind = "range" if isinstance(values, Range) else "logRange"
        return {"key": key, kind: {"min": values.min, "max": values.max}, "integer": values.integer}
    return {"key": key, "choice": list(values)}


def submission_of(payload: Mapping[str, Any]) -> Submission:
    """From the payload of ``submitJob`` or ``submitSweep``."""
    planned = payload["jobs"] if "jobs" in payload else [payload["planned"]] if payload["planned"] else []
    jobs = [
        {"job_id": job["jobId"], "name": job["name"], "config": job["config"], "priority": job["priority"], "tags": job["tags"],
         "storage_path": job["storagePath"]}
        for job in planned
    ]
    duplicates = [
        {"job_id": job["existingJobId"], "name": job["name"], "state": job["existingState"], "hint": job["hint"]}
        for job in payload["duplicates"]
    ]
    scripts = [script["script"] for script in payload["scripts"]]
    return Submission((payload.get("sweep") or {}).get("id"), jobs, duplicates, scripts, payload["dryRun"])
