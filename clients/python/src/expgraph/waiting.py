"""Waiting for jobs to end, with a progress bar."""

from __future__ import annotations

import sys
import time
import warnings
from types import TracebackType
from typing import Any

from .records import PROGRESS_FIELDS, Progress
from .scope import Scope
from .transport import Transport
from .watch import Watch

LOOK_AGAIN_SECONDS = 30.0
"""Progress is asked for after every change of a job, and this often anyway."""
COALESCE_SECONDS = 0.25
"""Changes that come together are one."""
_DONE_STATES = ("COMPLETED", "FAILED", "CANCELLED", "LOST")
_OPEN_STATES = ("QUEUED", "SUBMITTING", "PENDING", "RUNNING")

_EXPERIMENT = f"""query ExperimentProgress($ids: [ID!]) {{
  all: experiments(filter: {{ ids: $ids }}) {{ nodes {{ progress {{ {PROGRESS_FIELDS} }} }} }}
}}"""
_SWEEP = f"query SweepProgress($id: ID!) {{ sweep(id: $id) {{ progress {{ {PROGRESS_FIELDS} }} }} }}"


def _count(name: str, states: str) -> str:
    return f"{name}: jobs(filter: {{ ids: $ids, states: [{states}] }}, first: 1) {{ totalCount }}"


_STATES = " ".join(_count(state, state) for state in (*_DONE_STATES, "HELD", *_OPEN_STATES))
_TOTAL = "total: jobs(filter: { ids: $ids }, first: 1) { totalCount }"
_JOBS = f"query JobsProgress($ids: [ID!]) {{ {_TOTAL} {_count('open', ' '.join(_OPEN_STATES))} {_STATES} }}"


def read_progress(transport: Transport, scope: Scope) -> Progress:
    """How far the jobs are now."""
    if scope.kind == "experiment":
        return Progress.of(transport.request(_EXPERIMENT, {"ids": scope.ids})["all"]["nodes"][0]["progress"])
    if scope.kind == "sweep":
        return Progress.of(transport.request(_SWEEP, {"id": scope.ids[0]})["sweep"]["progress"])
    while True:
        counts = {state: page["totalCount"] for state, page in transport.request(_JOBS, {"ids": scope.ids}).items() if page["totalCount"]}
        total, still_open = counts.pop("total", 0), counts.pop("open", 0)
        # The states are counted one after the other. A job that moves on meanwhile is missed or counted twice; once none is open they stay.
        if still_open or sum(counts.values()) == total:
            done = sum(counts.get(state, 0) for state in _DONE_STATES)
            return Progress(total, done, counts, still_open, eta_seconds=0.0 if 0 < total == done else None)


def wait_until_done(transport: Transport, scope: Scope, watch: Watch, timeout: float | None, bar: ProgressBar) -> Progress:
    """Waits until no job is left that ends by itself. Raises ``TimeoutError``."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with watch, bar:
        while True:
            progress = read_progress(transport, scope)
            bar.show(progress)
            if progress.open <= 0:
                return progress
            left = LOOK_AGAIN_SECONDS if deadline is None else min(LOOK_AGAIN_SECONDS, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"after {timeout:g} s {progress.open} of {progress.total} jobs have not ended yet")
            if watch.next(left) is not None:
                _skip_what_comes_together(watch)


def _skip_what_comes_together(watch: Watch) -> None:
    until = time.monotonic() + COALESCE_SECONDS
    while (left := until - time.monotonic()) > 0:
        watch.next(left)


class ProgressBar:
    """tqdm's where it is installed (a widget in a notebook), else a line on a terminal, else nothing."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None
        self._line = ""

    def show(self, progress: Progress) -> None:
        """Shows how far the jobs are."""
        if not self._shown:
            return
        words = ", ".join(f"{count} {state}" for state, count in progress.states.items())
        if progress.eta_seconds:
            words += f", {_duration(progress.eta_seconds)} to go"
        if self._bar is None:
            self._bar = _tqdm(progress)
        if self._bar is not None:
            self._bar.total = progress.total
            self._bar.n = progress.done
            self._bar.set_postfix_str(words)
        elif sys.stderr.isatty():
            line = f"{progress.done}/{progress.total} done | {words}"
            sys.stderr.write("\r" + line.ljust(len(self._line)))
            sys.stderr.flush()
            self._line = line

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._line:
            sys.stderr.write("\n")


def _tqdm(progress: Progress) -> Any:
    try:
        with warnings.catch_warnings():
            # In a notebook without widgets it says so, and then shows text, which is as good.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ImportError:
        return None
    # The estimate is the server's, which knows how many run at a time.
    return tqdm(total=progress.total, initial=progress.done, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
