"""What is meant by the first argument of most methods: an experiment, a sweep, or jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Union

from .arguments import fault, listed, text
from .errors import ExpgraphError
from .records import EXPERIMENT_FIELDS, Experiment, Job, Submission, Sweep
from .transport import Transport

Meant = Union[str, Experiment, Sweep, Job, Submission, Sequence[Job], Sequence[str]]
"""An experiment by name (``"resnet-lr"``, or ``"vision/resnet-lr"`` with its project), anything by id, or what a method answered."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_BY_NAME = f"""query ExperimentByName($filter: ExperimentFilter) {{
  experiments(filter: $filter, first: 500) {{ nodes {{ {EXPERIMENT_FIELDS} }} }}
}}"""
_MEANT = "an experiment by name, anything by id, or what another call answered: an experiment, a sweep, a job, a list of jobs, a submission"
_EXPERIMENT = 'an experiment: its name, such as "vision/resnet-lr", its id, or what client.experiment(...) answered'
_EXPERIMENT_BY_ID = f"""query ExperimentById($ids: [ID!]) {{
  experiments(filter: {{ ids: $ids }}, first: 1) {{ nodes {{ {EXPERIMENT_FIELDS} }} }}
}}"""
_BY_ID = f"""query ById($id: ID!, $ids: [ID!]) {{
  job(id: $id) {{ id }}
  sweep(id: $id) {{ id }}
  experiments(filter: {{ ids: $ids }}, first: 1) {{ nodes {{ {EXPERIMENT_FIELDS} }} }}
}}"""


class Scope(NamedTuple):
    """Jobs that are meant, in the terms of the server."""

    kind: Literal["experiment", "sweep", "jobs"]
    ids: list[str]

    def filter(self) -> dict[str, Any]:
        """The part of a ``JobFilter`` that selects them."""
        return {{"experiment": "experimentIds", "sweep": "sweepIds", "jobs": "ids"}[self.kind]: self.ids}

    def event_filter(self) -> dict[str, Any]:
        """The part of a ``JobEventFilter`` that selects their events."""
        return {{"experiment": "experimentIds", "sweep": "sweepIds", "jobs": "jobIds"}[self.kind]: self.ids}


def scope_of(transport: Transport, meant: Meant, project: str | None = None) -> Scope:
    """What is meant. Raises ``ExpgraphError`` (``NOT_FOUND``) with what there is instead."""
    if isinstance(meant, Experiment):
        return Scope("experiment", [meant.id])
    if isinstance(meant, Sweep):
        return Scope("sweep", [meant.id])
    if isinstance(meant, Job):
        return Scope("jobs", [meant.id])
    if isinstance(meant, Submission):
        if meant.sweep_id is not None and not meant.duplicates:
            return Scope("sweep", [meant.sweep_id])
        return Scope("jobs", meant.job_ids)
    if not isinstance(meant, str):
        jobs = [each.id if isinstance(each, Job) else each for each in listed("of", meant, _MEANT)]
        return Scope("jobs", [text(f"of[{index}]", each, "a job or its id") for index, each in enumerate(jobs)])
    return _by_id(transport, meant) if _UUID.fullmatch(meant) else Scope("experiment", [find_experiment(transport, meant, project).id])


def experiment_of(transport: Transport, meant: str | Experiment, project: str | None = None) -> Experiment:
    """The experiment that is meant where nothing else will do."""
    if isinstance(meant, Experiment):
        return meant
    if isinstance(meant, (Sweep, Job)):
        name = f"{meant.experiment.project}/{meant.experiment.name}" if isinstance(meant, Sweep) else f"{meant.project}/{meant.experiment}"
        raise fault("experiment", f'needs {_EXPERIMENT}, not a {type(meant).__name__.lower()}; that of this one is "{name}"')
    if not _UUID.fullmatch(text("experiment", meant, _EXPERIMENT)):
        return find_experiment(transport, meant, project)
    nodes = transport.request(_EXPERIMENT_BY_ID, {"ids": [meant]})["experiments"]["nodes"]
    if not nodes:
        raise ExpgraphError(f"there is no experiment {meant}", code="NOT_FOUND")
    return Experiment.of(nodes[0])


def find_experiment(transport: Transport, name: str, project: str | None = None) -> Experiment:
    """The experiment of that name; ``"project/name"`` where several projects have one."""
    text("experiment", name, _EXPERIMENT)
    if project is not None:
        text("project", project)
    searched = name if project is not None else name.rpartition("/")[2]
    condition = {"nameContains": searched, **({"project": project} if project else {})}
    answers = transport.request(_BY_NAME, {"filter": condition})["experiments"]["nodes"]
    near = [Experiment.of(answer) for answer in answers]
    found = [each for each in near if each.name == name or (project is None and f"{each.project}/{each.name}" == name)]
    if len(found) == 1:
        return found[0]
    there_are = ", ".join(f"{each.project}/{each.name}" for each in (found or near)[:10])
    if found:
        raise fault("experiment", f"several projects have one called {name!r}: {there_are}; name one of them so")
    where = f" in the project {project!r}" if project else ""
    hint = f"; there is {there_are}" if there_are else "; client.experiments() lists all"
    raise ExpgraphError(f"there is no experiment {name!r}{where}{hint}", code="NOT_FOUND")


def split_experiment(experiment: str | Experiment, project: str | None) -> dict[str, str]:
    """Project and name for a submission, which makes an experiment that is not there."""
    if isinstance(experiment, Experiment):
        return {"project": experiment.project, "experiment": experiment.name}
    text("experiment", experiment, _EXPERIMENT)
    if project is not None:
        return {"project": text("project", project), "experiment": experiment}
    before, slash, name = experiment.partition("/")
    if not slash:
        raise fault("experiment", f'needs its project, too: "PROJECT/{experiment}", or project=...')
    return {"project": before, "experiment": name}


def _by_id(transport: Transport, id: str) -> Scope:
    answer = transport.request(_BY_ID, {"id": id, "ids": [id]})
    if answer["job"]:
        return Scope("jobs", [answer["job"]["id"]])
    if answer["sweep"]:
        return Scope("sweep", [answer["sweep"]["id"]])
    if answer["experiments"]["nodes"]:
        return Scope("experiment", [answer["experiments"]["nodes"][0]["id"]])
    raise ExpgraphError(f"there is no job, sweep or experiment {id}", code="NOT_FOUND")
