"""Experiments, sweeps, jobs and what belongs to them, as they were when they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .table import MAX_ROWS_SHOWN, html_table, moment, shown

EXPERIMENT_FIELDS = "id name project description tags createdAt objective { metric goal }"
SWEEP_FIELDS = f"id name jobCount strategy createdAt space experiment {{ {EXPERIMENT_FIELDS} }}"
JOB_FIELDS = """
  id name state stateReason tags config priority createdAt startedAt finishedAt storagePath retryable
  experiment { id name project } sweep { id } cluster { name }
  currentAttempt { number slurmJobId failure { class evidence advice } }
"""
CHECKPOINT_FIELDS = "id path uri step epoch state restoreCommand sizeBytes aliases writtenAt metrics { key value stepsApart } job { id name config }"
PROGRESS_FIELDS = "total done states { state count } jobsPerHour etaSeconds"


class Shown:
    """Something with a table of its fields in a notebook."""

    def _fields(self) -> dict[str, Any]:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        rows = [[name, value] for name, value in self._fields().items() if value not in (None, "", [], ())]
        return html_table([type(self).__name__.lower(), ""], rows)


@dataclass(frozen=True)
class Experiment(Shown):
    """A named collection of jobs inside a project."""

    id: str
    name: str
    project: str
    description: str | None
    tags: list[str]
    metric: str | None
    """The metric of its objective; None when nobody said what best means."""
    goal: str | None
    """``MIN`` or ``MAX``."""
    created_at: datetime

    @staticmethod
    def of(answer: Mapping[str, Any]) -> Experiment:
        """From an answer with ``EXPERIMENT_FIELDS``."""
        best = answer["objective"] or {}
        return Experiment(
            answer["id"], answer["name"], answer["project"], answer["description"], answer["tags"],
            best.get("metric"), best.get("goal"), _moment(answer["createdAt"]),
        )

    def _fields(self) -> dict[str, Any]:
        best = f"{self.metric} ({self.goal})" if self.metric else None
        return {"name": f"{self.project}/{self.name}", "description": self.description, "tags": self.tags, "objective": best,
                "created": self.created_at, "id": self.id}


@dataclass(frozen=True)
class Sweep(Shown):
    """One search space, expanded into jobs."""

    id: str
    name: str
    experiment: Experiment
    job_count: int
    strategy: str
    space: Any
    """As it was asked for, with the seed of its random draws."""
    created_at: datetime

    @staticmethod
    def of(answer: Mapping[str, Any]) -> Sweep:
        """From an answer with ``SWEEP_FIELDS``."""
        return Sweep(
            answer["id"], answer["name"], Experiment.of(answer["experiment"]), answer["jobCount"], answer["strategy"],
            answer["space"], _moment(answer["createdAt"]),
        )

    def _fields(self) -> dict[str, Any]:
        experiment = f"{self.experiment.project}/{self.experiment.name}"
        return {"name": self.name, "experiment": experiment, "jobs": self.job_count, "strategy": self.strategy,
                "created": self.created_at, "id": self.id}


@dataclass(frozen=True)
class Job(Shown):
    """One training run with one configuration."""

    id: str
    name: str
    state: str
    """``QUEUED``, ``RUNNING``, ``COMPLETED``, ... as in the schema's ``JobState``."""
    state_reason: str | None
    """Why it waits or why it failed, in words."""
    config: dict[str, Any]
    """Nested."""
    tags: list[str]
    priority: int
    project: str
    experiment: str
    sweep_id: str | None
    cluster: str
    attempt: int
    """How often it was begun; 0 before the first time."""
    slurm_job_id: str | None
    failure_class: str | None
    evidence: str | None
    """The line of its error text or logs that says what went wrong, or the words of its cluster."""
    advice: str | None
    """What usually helps against the failure."""
    storage_path: str
    """The job directory on the cluster."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @staticmethod
    def of(answer: Mapping[str, Any]) -> Job:
        """From an answer with ``JOB_FIELDS``."""
        attempt = answer["currentAttempt"] or {}
        failure = attempt.get("failure") or {}
        return Job(
            id=answer["id"], name=answer["name"], state=answer["state"], state_reason=answer["stateReason"], config=answer["config"],
            tags=answer["tags"], priority=answer["priority"], project=answer["experiment"]["project"],
            experiment=answer["experiment"]["name"], sweep_id=(answer["sweep"] or {}).get("id"), cluster=answer["cluster"]["name"],
            attempt=attempt.get("number", 0), slurm_job_id=attempt.get("slurmJobId"), failure_class=failure.get("class"),
            evidence=failure.get("evidence"), advice=failure.get("advice"), storage_path=answer["storagePath"], created_at=_moment(answer["createdAt"]),
            started_at=moment(answer["startedAt"]), finished_at=moment(answer["finishedAt"]),
        )

    @property
    def why(self) -> str | None:
        """Why it waits or why it failed, with the evidence."""
        said = [words for words in (self.state_reason, self.evidence) if words]
        return said[0] if len(said) == 2 and said[1] in said[0] else ": ".join(said) or None

    def _fields(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "why": self.why, "advice": self.advice, "tags": self.tags,
                "slurm": self.slurm_job_id, "attempt": self.attempt, "started": self.started_at, "finished": self.finished_at,
                "directory": self.storage_path, "id": self.id}


@dataclass(frozen=True)
class Checkpoint(Shown):
    """A saved model: one file, or a directory that counts as one."""

    id: str
    path: str
    """Absolute, on the cluster."""
    uri: str
    """``ssh://host/path`` or ``file:///path``."""
    step: int | None
    epoch: float | None
    """As its framework counts."""
    state: str
    """``COMPLETE``, or ``ARCHIVED``: then it has to be unpacked first, by ``restore_command`` or the mutation ``restoreCheckpoints``."""
    size_bytes: int
    aliases: list[str]
    metrics: dict[str, float | None]
    """The metrics as they stood when it was written: as the job gave them with it, else the last values at or before its step."""
    steps_apart: dict[str, int]
    """How many steps older than the checkpoint each of these values is."""
    job_id: str
    job_name: str
    config: dict[str, Any]
    """The configuration of the job that wrote it."""
    written_at: datetime
    restore_command: str | None = None
    """Of an archived one: a shell command for the cluster that unpacks it to ``path``."""

    @staticmethod
    def of(answer: Mapping[str, Any]) -> Checkpoint:
        """From an answer with ``CHECKPOINT_FIELDS``."""
        job = answer["job"]
        return Checkpoint(
            answer["id"], answer["path"], answer["uri"], answer["step"], answer["epoch"], answer["state"], answer["sizeBytes"],
            answer["aliases"], {each["key"]: each["value"] for each in answer["metrics"]},
            {each["key"]: each["stepsApart"] for each in answer["metrics"]}, job["id"], job["name"], job["config"],
            _moment(answer["writtenAt"]), answer["restoreCommand"],
        )

    def _fields(self) -> dict[str, Any]:
        metrics = {name: shown(value) for name, value in self.metrics.items()}
        return {"path": self.path, "state": self.state, "to restore it": self.restore_command, "step": self.step, "epoch": self.epoch, **metrics,
                "job": self.job_name, "bytes": self.size_bytes}


@dataclass(frozen=True)
class Progress(Shown):
    """How far some jobs are."""

    total: int
    done: int
    """Jobs that ended, however they ended."""
    states: dict[str, int]
    """Jobs by state, without the states that no job is in."""
    open: int
    """Jobs that will still end by themselves: neither done nor held."""
    jobs_per_hour: float | None = None
    eta_seconds: float | None = None

    @staticmethod
    def of(answer: Mapping[str, Any]) -> Progress:
        """From an answer with ``PROGRESS_FIELDS``."""
        states = {each["state"]: each["count"] for each in answer["states"] if each["count"]}
        still_open = answer["total"] - answer["done"] - states.get("HELD", 0)
        return Progress(answer["total"], answer["done"], states, still_open, answer["jobsPerHour"], answer["etaSeconds"])

    def _fields(self) -> dict[str, Any]:
        return {"done": f"{self.done} of {self.total}", **self.states, "jobs per hour": self.jobs_per_hour}


@dataclass(frozen=True)
class Event:
    """One fact of the log."""

    cursor: str
    """Its place in the log."""
    kind: str
    """As in the schema's ``EventKind``, such as ``JOB_STATE_CHANGED``."""
    at: datetime
    job_id: str | None
    job_name: str | None
    from_state: str | None
    to_state: str | None
    """Of the job, or of the attempt."""
    reason: str | None
    data: dict[str, Any] = field(repr=False)
    """All that the server told, in its spelling."""

    @staticmethod
    def of(answer: dict[str, Any]) -> Event:
        """From an answer of the subscription of ``watch``."""
        job = answer["job"] or {}
        return Event(
            answer["cursor"], answer["kind"], _moment(answer["at"]), job.get("id"), job.get("name"),
            answer["fromState"] or answer["fromAttemptState"], answer["toState"] or answer["toAttemptState"], answer["reason"], answer,
        )


@dataclass(frozen=True)
class Submission(Shown):
    """What became of a submission."""

    sweep_id: str | None
    """None for a single job, in a dry run, and when all jobs were known already."""
    jobs: list[dict[str, Any]]
    """What was or would be submitted: ``job_id`` (None in a dry run), ``name``, ``config``, ``priority``, ``tags``, ``storage_path``."""
    duplicates: list[dict[str, Any]]
    """Jobs that were known already and not submitted: ``job_id``, ``name``, ``state``, and in ``hint`` what to do about it."""
    scripts: list[str]
    """In a dry run, the scripts that would be submitted."""
    dry_run: bool

    @property
    def job_ids(self) -> list[str]:
        """All jobs that were meant, new and known."""
        return [job["job_id"] for job in [*self.jobs, *self.duplicates] if job["job_id"]]

    def _fields(self) -> dict[str, Any]:
        return {"would submit" if self.dry_run else "submitted": f"{len(self.jobs)} jobs",
                "known already": [job["name"] for job in self.duplicates[:MAX_ROWS_SHOWN]], "sweep": self.sweep_id}


def _moment(text: str) -> datetime:
    value = moment(text)
    assert value is not None
    return value
