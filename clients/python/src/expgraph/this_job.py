"""The job that this process runs in, as its script says in the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ExpgraphError

_RANKS_WITHOUT_LAUNCHER = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LOCAL_RANK", "NODE_RANK")


@dataclass(frozen=True)
class ThisJob:
    """The job around us. Paths are absolute."""

    id: str
    name: str
    project: str
    experiment: str
    attempt: int
    """1 for the first execution; a retry or a requeue has the next number."""
    directory: str
    checkpoints_directory: str
    """Save checkpoints here, and they are found."""
    artifacts_directory: str
    """Files that should be kept with the result."""
    resume_checkpoint: str | None
    """The checkpoint to go on from; None for a run that begins."""


def job_directory() -> str | None:
    """The directory of the job around us; None outside of one."""
    return os.environ.get("EXPGRAPH_JOB_DIR") or None


def this_job() -> ThisJob | None:
    """The job around us; None outside of one (where ``EXPGRAPH_JOB_DIR`` is not set)."""
    directory = job_directory()
    if directory is None:
        return None
    get = os.environ.get
    attempt = get("EXPGRAPH_ATTEMPT", "1")
    return ThisJob(
        id=get("EXPGRAPH_JOB_ID", ""),
        name=get("EXPGRAPH_JOB_NAME", ""),
        project=get("EXPGRAPH_PROJECT", ""),
        experiment=get("EXPGRAPH_EXPERIMENT", ""),
        attempt=int(attempt) if attempt.isdigit() else 1,
        directory=directory,
        checkpoints_directory=get("EXPGRAPH_CHECKPOINTS_DIR") or os.path.join(directory, "checkpoints"),
        artifacts_directory=get("EXPGRAPH_ARTIFACTS_DIR") or os.path.join(directory, "artifacts"),
        resume_checkpoint=get("EXPGRAPH_RESUME_CHECKPOINT") or None,
    )


def config(defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of the job around us, nested: ``config()["optim"]["lr"]``.

    ``defaults`` fill in what the configuration leaves out; their keys may be nested or dotted (``{"optim.lr": 0.1}``).
    Outside of a job they are the whole configuration, so that the same program runs by hand.

    Raises ``ExpgraphError`` (``NOT_IN_JOB``) outside of a job when there are no defaults, and ``OSError`` or ``ValueError``
    when the configuration of the job cannot be read: no run should go on with another one.
    """
    directory = job_directory()
    path = os.environ.get("EXPGRAPH_CONFIG") if directory is not None else None
    if directory is None and defaults is None:
        raise ExpgraphError(
            "this is not a job of expgraph (EXPGRAPH_JOB_DIR is not set), so there is no configuration; "
            'give one for runs by hand: expgraph.config({"optim.lr": 0.1})',
            code="NOT_IN_JOB",
        )
    merged: dict[str, Any] = {}
    _lay_over(merged, defaults or {})
    if directory is not None:
        with open(path or os.path.join(directory, "config.json"), encoding="utf-8") as file:
            _lay_over(merged, json.load(file))
    return merged


def _lay_over(base: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        place = base
        *groups, name = str(key).split(".")
        for group in groups:
            child = place.get(group)
            if not isinstance(child, dict):
                child = place[group] = {}
            place = child
        if isinstance(value, Mapping):
            child = place.get(name)
            if not isinstance(child, dict):
                child = place[name] = {}
            _lay_over(child, value)
        else:
            place[name] = value


def is_first_rank() -> bool:
    """Whether this process is the one of its job that logs: rank 0, or the only one.

    ``RANK`` decides where torchrun set it (and ``WORLD_SIZE``), because ``SLURM_PROCID`` then counts launchers; else every
    rank that SLURM, MPI or Lightning set must be 0.
    """
    rank = os.environ.get("RANK", "")
    if rank.isdigit() and os.environ.get("WORLD_SIZE"):
        return int(rank) == 0
    return all(os.environ.get(name, "0") in ("0", "") for name in _RANKS_WITHOUT_LAUNCHER)
