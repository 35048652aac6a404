"""``expgraph.log`` and ``expgraph.checkpoint``: what a training run says about itself.

They append lines to files in the job directory, from where the server reads them, with or without a network on the node.
Nothing here raises into a training loop: what cannot be logged is said once, as a warning of the logger ``expgraph``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from math import isfinite
from types import FrameType
from typing import Any

from .line_file import LineFile, flush_all, logger
from .metric_line import render_lines, shown, to_number, whole_number
from .this_job import is_first_rank, job_directory

SIGTERM_FLUSH_SECONDS = 2.0
CHECKPOINT_FLUSH_SECONDS = 1.0
"""A checkpoint is rare, and what is known of it must outlive a crash: for so long it waits for the disk."""
MAX_DIFFERENT_WARNINGS = 100
"""A program that makes a new mistake at each step is told about the first hundred."""

_files: dict[str, LineFile] = {}
_said: set[str] = set()
_watches_sigterm = False


def log(
    values: Mapping[str, Any],
    step: int | None = None,
    *,
    epoch: float | None = None,
    phase: str | None = None,
    all_ranks: bool = False,
) -> None:
    """Logs numbers at a training step.

    ``values``: names and numbers, flat or nested (``{"loss": {"kl": 0.1}}`` becomes ``loss/kl``). Numbers are Python's, numpy
    scalars, and tensors with one element (which waits for the device to compute it); NaN and infinities are kept. None is
    left out; strings and larger arrays are left out with a warning.
    ``step``: a whole number from 0; logging a step again replaces its values. Left out, it is ``epoch`` if that is whole,
    else the server counts on from the last step.
    ``phase``: goes in front of the names, as in ``val/loss``.
    ``all_ranks``: of several processes of a job only rank 0 logs, unless this is set. Give the names the rank then, because
    two ranks that log the same name at the same step replace each other.

    Takes some microseconds and never raises. Outside of a job nothing is written, with one warning; set
    ``EXPGRAPH_JOB_DIR`` to an existing directory to have ``metrics.jsonl`` written there.
    """
    try:
        file = _file("metrics.jsonl", "EXPGRAPH_METRICS") if all_ranks or is_first_rank() else None
        if file is None:
            return
        lines, faults = render_lines(values, step=step, epoch=epoch, phase=phase, now=time.time())
        for line in lines:
            file.append(line)
        for fault in faults:
            _warn(f"log: {fault}")
    except Exception as error:  # noqa: BLE001 - a training run must not end because of what it says about itself
        _warn(f"log failed: {error!r}")


def checkpoint(
    path: str | os.PathLike[str],
    step: int | None = None,
    *,
    epoch: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    aliases: Iterable[str] = (),
) -> None:
    """Says that a checkpoint was saved: a file, or a directory that counts as one.

    Call it after saving. Checkpoints in the job's ``checkpoints/`` are found anyway; this adds what their names do not say,
    and those that lie elsewhere. ``path`` may be relative to the working directory. ``metrics`` are numbers that belong to it,
    such as the validation loss it was saved for; ``aliases`` are names to ask for it by, such as ``best``.

    When it returns, the record is with the operating system and survives whatever ends the process. A disk that does not answer
    is waited for 1 second at most, and not again before it answers; the record is then written as soon as it does.

    Only rank 0 records it. Never raises.
    """
    try:
        file = _file("checkpoints.jsonl", None) if is_first_rank() else None
        if file is not None:
            file.append(_checkpoint_line(os.fspath(path), step, epoch, metrics, aliases))
            if not file.is_hung:
                file.flush(CHECKPOINT_FLUSH_SECONDS)
    except Exception as error:  # noqa: BLE001 - as above
        _warn(f"checkpoint failed: {error!r}")


def flush(timeout: float = 10.0) -> bool:
    """Waits until everything that was logged is written, at most ``timeout`` seconds. Answers whether it is.

    Seldom needed: what is logged is written within a tenth of a second, and at the end of the program.
    """
    return flush_all(timeout)


def _checkpoint_line(
    path: str, step: Any, epoch: Any, metrics: Mapping[str, Any] | None, aliases: Iterable[str]
) -> bytes:
    directory = os.path.abspath(job_directory() or ".")
    absolute = os.path.abspath(path)
    inside = absolute.startswith(directory + os.sep)
    step_number = None if step is None else whole_number(step)
    if step is not None and step_number is None:
        _warn(f"checkpoint: step must be a whole number from 0 to 2**53 - 1, not {shown(step)}")
    epoch_number = None if epoch is None else to_number(epoch)
    record: dict[str, Any] = {
        "path": os.path.relpath(absolute, directory) if inside else absolute,
        "step": step_number,
        "epoch": epoch_number if epoch_number is not None and epoch_number >= 0 and isfinite(epoch_number) else None,
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if metrics:
        numbers = {str(name): to_number(value) for name, value in metrics.items()}
        record["metrics"] = {name: number for name, number in numbers.items() if number is not None and isfinite(number)}
    names = [aliases] if isinstance(aliases, str) else [str(alias) for alias in aliases]
    if names:
        record["aliases"] = names
    return (json.dumps(record) + "\n").encode()


def _file(name: str, variable: str | None) -> LineFile | None:
    """The file of that name in the job directory, or where the variable says; None outside of a job."""
    directory = job_directory()
    if directory is None:
        _warn(
            "this is not a job of expgraph (EXPGRAPH_JOB_DIR is not set): nothing is logged. "
            "Set EXPGRAPH_JOB_DIR to a directory to have it written there"
        )
        return None
    path = (os.environ.get(variable) if variable else None) or os.path.join(directory, name)
    file = _files.get(path)
    if file is None:
        file = _files.setdefault(path, LineFile(path))
        _watch_sigterm()
    return file


def _warn(message: str) -> None:
    if message in _said or len(_said) >= MAX_DIFFERENT_WARNINGS:
        return
    _said.add(message)
    logger.warning("expgraph: %s (said once)", message)


def _watch_sigterm() -> None:
    """SLURM ends a job with SIGTERM, which by default ends Python at once. A program's own handler is left alone."""
    global _watches_sigterm
    if _watches_sigterm or threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
        _watches_sigterm = True


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    flush_all(SIGTERM_FLUSH_SECONDS)
    # A framework may have put its own handler in front and call this one from it: then the end is up to it.
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), number)
