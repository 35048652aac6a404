"""Inputs and answers of submissions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union

from .arguments import (
    FAILURE_CLASSES,
    ON_DUPLICATE,
    camel,
    choice,
    did_you_mean,
    fault,
    known_keys,
    listed,
    mapping,
    mappings,
    text,
    texts,
    truth,
    whole,
)
from .records import Submission
from .wording import in_python

_RESOURCES = ("cpus", "gpus", "gpu_type", "memory_mib", "time_limit_minutes", "nodes", "partition", "account", "qos", "sbatch_options")
_PRIORITY_RULE = ("key", "priority", "equals", "lt", "lte", "gt", "gte")
_RETRY_RULE = (
    "failure_class", "max_retries", "backoff_seconds", "memory_factor", "time_limit_factor", "priority_boost", "exclude_failed_node", "config_changes",
)


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


def resource_input(argument: str, value: Any) -> dict[str, Any]:
    """A ``ResourcesInput`` of the schema."""
    return known_keys(argument, value, _RESOURCES, '{"gpus": 1, "time_limit_minutes": 60}')


def _rules(argument: str, value: Any, known: tuple[str, ...], example: str) -> list[dict[str, Any]]:
    return [known_keys(f"{argument}[{index}]", rule, known, example) for index, rule in enumerate(mappings(argument, value, example))]


def _retry_policy(argument: str, value: Any) -> list[dict[str, Any]]:
    rules = _rules(argument, value, _RETRY_RULE, '{"failure_class": "PREEMPTED", "max_retries": 3}')
    return [
        {name: choice(f'{argument}[{index}]["failure_class"]', each, FAILURE_CLASSES) if name == "failureClass" else each for name, each in rule.items()}
        for index, rule in enumerate(rules)
    ]


_JOB_OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "cluster": text,
    "working_directory": text,
    "environment": lambda argument, value: mapping(argument, value, '{"OMP_NUM_THREADS": "4"}'),
    "resources": resource_input,
    "tags": lambda argument, value: texts(argument, value, '["baseline"]'),
    "priority": whole,
    "held": truth,
    "on_duplicate": lambda argument, value: choice(argument, value, ON_DUPLICATE),
    "code_version": text,
    "retry_policy": _retry_policy,
    "idempotency_key": text,
}
_SWEEP_OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    **_JOB_OPTIONS,
    "tag_keys": lambda argument, value: texts(argument, value, '["optim.lr"]'),
    "priority_rules": lambda argument, value: _rules(argument, value, _PRIORITY_RULE, '{"key": "optim.lr", "lt": 0.01, "priority": 300}'),
}
_OTHER_NAMES = {"list": "configs", "space": "grid", "count": "draws", "seed": "draw_seed"}
"""What the schema calls them."""


def _checked(options: Mapping[str, Any], known: Mapping[str, Callable[[str, Any], Any]], arguments: Iterable[str]) -> dict[str, Any]:
    by_name = {camel(name): check for name, check in known.items()}
    for name in options:
        if camel(name) not in by_name:
            there_are = [*arguments, *known]
            raise fault(name, f"is no argument of this call{did_you_mean(name, there_are, _OTHER_NAMES.get(name))}; there are {', '.join(there_are)}")
    return {camel(name): by_name[camel(name)](name, value) for name, value in options.items() if value is not None}


def job_input(common: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A ``SubmitJobInput`` of the schema."""
    named = _checked(options, _JOB_OPTIONS, ("name", "objective", "dry_run"))
    return {name: value for name, value in {**common, **named}.items() if value is not None}


def sweep_input(common: Mapping[str, Any], space: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A ``SubmitSweepInput`` of the schema."""
    named = _checked(options, _SWEEP_OPTIONS, (*(name for name in space if name != "list"), "configs", "name", "objective", "dry_run"))
    sent = {**common, "space": _space(space), **named}
    return {name: value for name, value in sent.items() if value is not None}


def _space(space: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if space["base"] is not None:
        parts["base"] = mapping("base", space["base"], '{"model": "resnet50"}')
    if space["list"] is not None:
        parts["list"] = mappings("configs", space["list"], '{"optim.lr": 0.1, "depth": 3}')
    if space["grid"] is not None:
        grid = mapping("grid", space["grid"], '{"optim.lr": [0.01, 0.1]}')
        parts["grid"] = [{"key": key, "values": listed(f'grid["{key}"]', values, _list_of(values))} for key, values in grid.items()]
    if space["seeds"] is not None:
        right = "whole numbers, such as " + (f"range({space['seeds']})" if isinstance(space["seeds"], int) else "range(3) or [0, 1, 2]")
        seeds = [whole(f"seeds[{index}]", seed) for index, seed in enumerate(listed("seeds", space["seeds"], right))]
        parts["seeds"] = {"values": seeds, **({"key": text("seed_key", space["seed_key"])} if space["seed_key"] else {})}
    elif space["seed_key"] is not None:
        raise fault("seed_key", "is of no use without seeds=..., the seeds that it is the key of")
    if space["random"] is not None:
        parts["random"] = _random_space(space["random"], space["draws"], space["draw_seed"])
    else:
        for name in ("draws", "draw_seed"):
            if space[name] is not None:
                raise fault(name, 'is of no use without random=..., which says what is drawn from, such as {"optim.lr": LogRange(1e-4, 1e-1)}')
    return parts


def _random_space(random: Any, draws: Any, draw_seed: Any) -> dict[str, Any]:
    drawn = mapping("random", random, '{"optim.lr": LogRange(1e-4, 1e-1)}')
    if draws is None:
        raise fault("draws", "is needed with random: how many configurations are drawn")
    seed = None if draw_seed is None else whole("draw_seed", draw_seed)
    return {"count": whole("draws", draws), "seed": seed, "parameters": [_parameter(key, values) for key, values in drawn.items()]}


def _parameter(key: str, values: Any) -> dict[str, Any]:
    if isinstance(values, (Range, LogRange)):
        kind = "range" if isinstance(values, Range) else "logRange"
        return {"key": key, kind: {"min": values.min, "max": values.max}, "integer": values.integer}
    return {"key": key, "choice": listed(f'random["{key}"]', values, f"a Range, a LogRange or {_list_of(values)}")}


def _list_of(value: Any) -> str:
    example = json.dumps(value) if isinstance(value, (str, int, float)) else "0.01, 0.1"
    return f"a list of values, such as [{example}]"


def submission_of(payload: Mapping[str, Any]) -> Submission:
    """From the payload of ``submitJob`` or ``submitSweep``."""
    planned = payload["jobs"] if "jobs" in payload else [payload["planned"]] if payload["planned"] else []
    jobs = [
        {"job_id": job["jobId"], "name": job["name"], "config": job["config"], "priority": job["priority"], "tags": job["tags"],
         "storage_path": job["storagePath"]}
        for job in planned
    ]
    duplicates = [
        {"job_id": job["existingJobId"], "name": job["name"], "state": job["existingState"], "hint": in_python(job["hint"])}
        for job in payload["duplicates"]
    ]
    scripts = [script["script"] for script in payload["scripts"]]
    return Submission((payload.get("sweep") or {}).get("id"), jobs, duplicates, scripts, payload["dryRun"])
