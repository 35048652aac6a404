"""The Python side of expgraph: log from a training run.

In a training program::

    import expgraph
    config = expgraph.config()
    expgraph.log({"loss": loss}, step=step, phase="train")
    expgraph.checkpoint("checkpoints/epoch=3.pt", step=step)
"""

from .errors import ExpgraphError, Fault
from .job_log import checkpoint, flush, log
from .this_job import ThisJob, config, this_job

__all__ = [
    "ExpgraphError",
    "Fault",
    "ThisJob",
    "checkpoint",
    "config",
    "flush",
    "log",
    "this_job",
]
