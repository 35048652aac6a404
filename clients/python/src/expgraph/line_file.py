"""Appends lines to a file from a thread of its own, so that a slow, full, hung or vanished disk costs the program nothing.

What is handed over is with the operating system within a tenth of a second, from where it survives the end of the
process, by whatever signal.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections import deque

from .appended_file import AppendedFile

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Held in memory while the disk does not take them; then the oldest lines go."""
MAX_WRITE_BYTES = 256 * 1024
WRITE_INTERVAL_SECONDS = 0.1
"""A flood of lines is written this often; a line that comes alone is written at once."""
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 30.0
EXIT_FLUSH_SECONDS = 5.0
"""For so long, all files together, the end of the program waits for a disk that does not answer."""

logger = logging.getLogger("expgraph")
_open_files: weakref.WeakSet[LineFile] = weakref.WeakSet()
_exit_deadline: float | None = None


class _Bell:
    """Wakes the writer. A signal handler may ring it wherever it interrupts the program: nobody holds a lock meanwhile."""

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        try:
            self._silence.release()
        except RuntimeError:
            # It rings already.
            pass

    def wait(self, seconds: float = -1) -> None:
        self._silence.acquire(timeout=seconds)


class LineFile:
    """A file that lines are appended to. Never raises and never waits for the disk."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._begin()
        _open_files.add(self)

    def _begin(self) -> None:
        """The state of a process that has not written yet: at first, and again in a forked child."""
        # The writer takes no lock that a call of `append` holds, so that a signal handler which interrupts one can wait for the writer.
        # A signal handler may log while it interrupts a call that logs, on the same thread.
        self._appending = threading.RLock()
        self._starting = threading.Lock()
        self._news = _Bell()
        self._hurry = _Bell()
        self._file = AppendedFile(self.path)
        self._lines: deque[bytes] = deque()
        self._taken_bytes = 0
        """Of all lines but those that were given up; counted by ``append``."""
        self._drained_bytes = 0
        """Of those that are no longer in ``_lines``; counted by the writer."""
        self._given_up_lines = 0
        self._lost_said = 0
        self._left_said = False
        self._batch = b""
        self._is_writing = False
        self._failing = False
        self._tries = 0
        self._failed_try = 0
        self._hung_try = -1
        self._thread: threading.Thread | None = None

    @property
    def dropped_lines(self) -> int:
        """Lines that were given up, because the disk did not take them in time, or took only a part of one."""
        return self._given_up_lines + self._file.broken_lines

    def append(self, line: bytes) -> None:
        """Takes a line, with its newline. Returns at once."""
        with self._appending:
            self._lines.append(line)
            self._taken_bytes += len(line)
            while self._taken_bytes - self._drained_bytes > MAX_WAITING_BYTES and len(self._lines) > 1:
                self._give_up_oldest()
            # Not by asking for the thread: a signal handler that logs may come between the question and the answer.
            if not self._starting.acquire(blocking=False):
                if len(self._lines) <= 1:
                    self._news.ring()
                return
            thread = self._thread = threading.Thread(target=self._run, name="expgraph-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # There are no threads any more at the end of the interpreter.
            self._thread = None
            self._starting.release()
            self._write_waiting()
        else:
            _flush_at_end_of_child(self)

    def _give_up_oldest(self) -> None:
        try:
            oldest = self._lines.popleft()
        except IndexError:
            # The writer was faster.
            return
        self._taken_bytes -= len(oldest)
        self._given_up_lines += 1

    @property
    def is_hung(self) -> bool:
        """Whether a flush has waited in vain for the write that is still under way."""
        return self._is_writing and self._hung_try == self._tries

    def hurry(self) -> None:
        """Has what waits written now."""
        if self._has_work():
            self._news.ring()
            self._hurry.ring()

    def flush(self, timeout: float) -> bool:
        """Waits until everything is written, at most ``timeout`` seconds. Answers whether it is.

        Takes no lock, because it also runs in a signal handler, which may have interrupted ``append``.
        """
        deadline = time.monotonic() + timeout
        tries = self._tries
        self.hurry()
        while self._has_work():
            # A disk that fails is tried once more.
            if self._failed_try > tries:
                return False
            if time.monotonic() > deadline:
                self._hung_try = self._tries
                return False
            time.sleep(0.002)
        return True

    def _has_work(self) -> bool:
        # The writer says that it writes before it takes a line away, and what was lost before it says that it is done.
        return bool(self._lines) or self._is_writing or bool(self._batch)

    def forget_parent(self) -> None:
        """In a forked child: the parent writes what it was given; the child begins anew."""
        self._file.close()
        self._begin()

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # Signals are the program's affair: here they would not wake it.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        retry_seconds = RETRY_SECONDS_MIN
        while True:
            while not self._lines and not self._batch:
                self._news.wait()
            if self._write_waiting():
                retry_seconds = RETRY_SECONDS_MIN
                self._hurry.wait(WRITE_INTERVAL_SECONDS)
            else:
                self._hurry.wait(retry_seconds)
                retry_seconds = min(retry_seconds * 2, RETRY_SECONDS_MAX)

    def _write_waiting(self) -> bool:
        """False when the disk refuses; what it did not take is kept."""
        self._tries += 1
        self._is_writing = True
        try:
            is_flood = True
            while self._batch or (is_flood and self._next_batch()):
                self._batch = self._file.write(self._batch)
                is_flood = self._taken_bytes - self._drained_bytes >= MAX_WRITE_BYTES
            self._say_how_it_went_on()
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed, and nobody else writes
            self._fail(error)
            return False
        finally:
            self._is_writing = False

    def _next_batch(self) -> bool:
        lines: list[bytes] = []
        size = 0
        while size < MAX_WRITE_BYTES:
            try:
                line = self._lines.popleft()
            except IndexError:
                break
            lines.append(line)
            size += len(line)
        self._batch = b"".join(lines)
        self._drained_bytes += size
        return size > 0

    def _say_how_it_went_on(self) -> None:
        lost, self._lost_said = self.dropped_lines - self._lost_said, self.dropped_lines
        if self._failing or lost > 0:
            self._failing = False
            logger.warning("expgraph: %s can be written again; %d lines were lost", self.path, lost)

    def _fail(self, error: Exception) -> None:
        if not self._failing:
            logger.warning(
                "expgraph: cannot write %s (%s); values wait in memory (%d MiB at most) and the run goes on",
                self.path, getattr(error, "strerror", None) or error, MAX_WAITING_BYTES // 1024 // 1024,
            )
        self._failing = True
        self._failed_try = self._tries
        self._file.close()

    def close(self) -> None:
        """Writes what waits, within a time that all files share; says how much could not be written."""
        global _exit_deadline
        if _exit_deadline is None:
            _exit_deadline = time.monotonic() + EXIT_FLUSH_SECONDS
        if self.flush(max(0.0, _exit_deadline - time.monotonic())) or self._left_said:
            return
        self._left_said = True
        lost = len(self._lines) + self._batch.count(b"\n") + self.dropped_lines - self._lost_said
        logger.warning("expgraph: %d lines could not be written to %s", lost, self.path)


def flush_all(timeout: float) -> bool:
    """Waits until the lines of all files are written, at most ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    files = list(_open_files)
    for file in files:
        file.hurry()
    written = [file.flush(max(0.0, deadline - time.monotonic())) for file in files]
    return all(written)


def _flush_at_end_of_child(file: LineFile) -> None:
    """Children of multiprocessing end without ``atexit``, but run its own finalizers."""
    multiprocessing_util = sys.modules.get("multiprocessing.util")
    if multiprocessing_util is not None:
        multiprocessing_util.Finalize(None, file.close, exitpriority=10)


def _close_all() -> None:
    files = list(_open_files)
    for file in files:
        file.hurry()
    for file in files:
        file.close()


def _after_fork_in_child() -> None:
    global _exit_deadline
    _exit_deadline = None
    for file in list(_open_files):
        file.forget_parent()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
