"""A logger for PyTorch Lightning: ``Trainer(logger=ExpgraphLogger())``.

Lightning is imported by importing this module, and only then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .job_log import checkpoint, flush, log
from .this_job import job_directory, this_job

if TYPE_CHECKING:
    from lightning.pytorch.loggers.logger import Logger
elif "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    # Lightning has two packages, whose classes do not know each other: ours is of the one that is in use.
    from pytorch_lightning.loggers.logger import Logger
else:
    try:
        from lightning.pytorch.loggers.logger import Logger
    except ImportError:
        from pytorch_lightning.loggers.logger import Logger

FLUSH_SECONDS = 10.0


class ExpgraphLogger(Logger):  # type: ignore[misc]
    """Logs what ``self.log`` logs, at Lightning's steps and under its names, and records the checkpoints of ``ModelCheckpoint``.

    Inside a job, checkpoints of a ``ModelCheckpoint`` without ``dirpath`` go into the job's ``checkpoints/``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._recorded: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Empty, because Lightning makes the path of its checkpoints of it; so is the version."""
        return ""

    @property
    def version(self) -> str:
        """See ``name``."""
        return ""

    @property
    def save_dir(self) -> str | None:
        """The job directory; None outside of a job."""
        return job_directory()

    @property
    def experiment(self) -> Any:
        """The job around us; None outside of one."""
        return this_job()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Called by Lightning, on rank 0."""
        log(metrics, step)

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Leaves hyperparameters alone: the configuration of the job is known already."""

    def save(self) -> None:
        """Called by Lightning before a requeue."""
        flush(FLUSH_SECONDS)

    def finalize(self, status: str) -> None:
        """Called by Lightning at the end."""
        flush(FLUSH_SECONDS)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Called by ``ModelCheckpoint`` after it saved; records what is new since the last call."""
        scores = {path: score for path, score in checkpoint_callback.best_k_models.items() if path}
        if checkpoint_callback.last_model_path:
            scores.setdefault(checkpoint_callback.last_model_path, None)
        step = getattr(checkpoint_callback, "_last_global_step_saved", None)
        for path, score in scores.items():
            saved_at = _modified_at(path)
            if saved_at is None or self._recorded.get(path) == saved_at:
                continue
            self._recorded[path] = saved_at
            monitored = {checkpoint_callback.monitor: score} if checkpoint_callback.monitor and score is not None else None
            checkpoint(path, step, metrics=monitored, aliases=["best"] if path == checkpoint_callback.best_model_path else ())


def _modified_at(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
