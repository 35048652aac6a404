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
    from .submitting import LogRange, Range

__all__ = [
    "Client",
    "ExpgraphError",
    "Fault",
    "LogRange",
    "Range",
    "SampledWarning",
    "ThisJob",
    "checkpoint",
    "config",
    "flush",
    "log",
    "this_job",
]

_OF_THE_CLIENT = {"Client": "client", "LogRange": "submitting", "Range": "submitting", "SampledWarning": "history"}


def __getattr__(name: str) -> Any:
    """What a training program does not need is imported when it is asked for."""
    if name in _OF_THE_CLIENT:
        from importlib import import_module

        return getattr(import_module(f".{_OF_THE_CLIENT[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
