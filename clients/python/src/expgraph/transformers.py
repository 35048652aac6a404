"""A callback for the Trainer of Hugging Face transformers: ``Trainer(..., callbacks=[ExpgraphCallback()])``.

transformers is imported by importing this module, and only then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from transformers.trainer_callback import TrainerCallback

from .job_log import checkpoint, flush, log

FLUSH_SECONDS = 10.0


class ExpgraphCallback(TrainerCallback):  # type: ignore[misc]
    """Logs what the Trainer logs, as ``train/loss``, ``eval/loss`` and so on, and records the checkpoints it saves.

    Let ``TrainingArguments(output_dir=...)`` be ``expgraph.this_job().checkpoints_directory``.
    """

    def __init__(self) -> None:
        self._evaluated: tuple[int, dict[str, Any]] = (-1, {})

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Called by the Trainer with what it logs."""
        if state.is_world_process_zero and logs:
            numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float)) and name != "epoch"}
            log({_named(name): value for name, value in numbers.items()}, state.global_step, epoch=state.epoch)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Called by the Trainer after an evaluation."""
        self._evaluated = (state.global_step, {_named(name): value for name, value in (metrics or {}).items() if name != "epoch"})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer after it saved."""
        if not state.is_world_process_zero:
            return
        path = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        step, metrics = self._evaluated
        best = state.best_model_checkpoint is not None and os.path.abspath(state.best_model_checkpoint) == os.path.abspath(path)
        checkpoint(path, state.global_step, epoch=state.epoch, metrics=metrics if step == state.global_step else None, aliases=["best"] if best else ())

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer at the end."""
        flush(FLUSH_SECONDS)


def _named(name: str) -> str:
    """The names that the Trainer's own integrations give, as the server reads them from its files: ``eval/loss``, ``train/loss``."""
    for prefix in ("eval", "test"):
        if name.startswith(f"{prefix}_"):
            return f"{prefix}/{name[len(prefix) + 1:]}"
    return f"train/{name}"
