"""The Python side of expgraph.

In a training program, with nothing but the standard library::

    import expgraph
    config = expgraph.config()
    expgraph.log({"loss": loss}, step=step, phase="train")
    expgraph.checkpoint("checkpoints/epoch=3.pt", step=step)

In a notebook::

    client = expgraph.Client()
    results = client.results("resnet-lr")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import ExpgraphError, Fault
from .job_log import checkpoint, flush, log
from .this_job import ThisJob, config, this_job

if TYPE_CHECKING:
    from .client import Client
    from .history import SampledWarning
    from .lists import Records
    from .mutations import Changes
    from .records import Checkpoint, Event, Experiment, Job, Progress, Submission, Sweep
    from .submitting import LogRange, Range
    from .table import Form, Table
    from .watch import Watch

    __version__: str

__all__ = [
    "Changes",
    "Checkpoint",
    "Client",
    "Event",
    "Experiment",
    "ExpgraphError",
    "Fault",
    "Form",
    "Job",
    "LogRange",
    "Progress",
    "Range",
    "Records",
    "SampledWarning",
    "Submission",
    "Sweep",
    "Table",
    "ThisJob",
    "Watch",
    "checkpoint",
    "config",
    "flush",
    "log",
    "this_job",
]

_OF_THE_CLIENT = {
    "client": ["Client"],
    "history": ["SampledWarning"],
    "lists": ["Records"],
    "mutations": ["Changes"],
    "records": ["Checkpoint", "Event", "Experiment", "Job", "Progress", "Submission", "Sweep"],
    "submitting": ["LogRange", "Range"],
    "table": ["Form", "Table"],
    "watch": ["Watch"],
}
_MODULES = {name: module for module, names in _OF_THE_CLIENT.items() for name in names}


def __getattr__(name: str) -> Any:
    """What a training program does not need is imported when it is asked for."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES, "__version__"]
