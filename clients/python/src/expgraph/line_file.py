"""Appends lines to a file from a thread of its own, so that a slow, full or vanished disk costs the program nothing.

What is handed over is with the operating system within a tenth of a second, from where it survives the end of the
process, by whatever signal.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import queue
import sys
import threading
import time
import weakref
from collections import deque

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Held in memory while the disk does not take them; then the oldest lines go."""
MAX_WRITE_BYTES = 256 * 1024
WRITE_INTERVAL_SECONDS = 0.1
"""A flood of lines is written this often; a line that comes alone is written at once."""
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 30.0
EXIT_FLUSH_SECONDS = 5.0

logger = logging.getLogger("expgraph")
_open_files: weakref.WeakSet[LineFile] = weakref.WeakSet()


class LineFile:
    """A file that lines are appended to. Never raises and never waits for the disk."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.dropped_lines = 0
        """Lines that were given up, because the disk did not take them in time."""
        self._begin()
        _open_files.add(self)

    def _begin(self) -> None:
        """The state of a process that has not written yet: at first, and again in a forked child."""
        self._wake = threading.Condition(threading.Lock())
        # Tokens that end the writer's pause. A queue, because its `put` may be called by a signal handler.
        self._hurry: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._batch = b""
        self._mid_line_at: int | None = None
        """Size of the file where the batch goes on in the middle of a line; -1 when the size could not be read."""
        self._failing = False
        self._failures = 0
        self._descriptor: int | None = None
        self._thread: threading.Thread | None = None

    def append(self, line: bytes) -> None:
        """Takes a line, with its newline. Returns at once."""
        with self._wake:
            self._lines.append(line)
            self._waiting_bytes += len(line)
            while self._waiting_bytes > MAX_WAITING_BYTES and len(self._lines) > 1:
                self._waiting_bytes -= len(self._lines.popleft())
                self.dropped_lines += 1
            if self._thread is not None:
                if len(self._lines) == 1:
                    self._wake.notify()
                return
        if not self._start():
            self._write_waiting()

    def flush(self, timeout: float) -> bool:
        """Waits until everything is written, at most ``timeout`` seconds. Answers whether it is.

        Takes no lock, because it also runs in a signal handler, which may have interrupted ``append``.
        """
        deadline = time.monotonic() + timeout
        failures = self._failures
        self._hurry.put(None)
        while self._lines or self._batch:
            # A disk that fails is tried once more.
            if self._failures > failures or time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def forget_parent(self) -> None:
        """In a forked child: the parent writes what it was given; the child begins anew."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._begin()

    def _start(self) -> bool:
        """False where no thread can be had any more: at the end of the interpreter."""
        thread = threading.Thread(target=self._run, name="expgraph-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        _flush_at_end_of_child(self)
        return True

    def _run(self) -> None:
        retry_seconds = RETRY_SECONDS_MIN
        while True:
            with self._wake:
                while not self._lines and not self._batch:
                    self._wake.wait()
            if self._write_waiting():
                retry_seconds = RETRY_SECONDS_MIN
                self._pause(WRITE_INTERVAL_SECONDS)
            else:
                self._pause(retry_seconds)
                retry_seconds = min(retry_seconds * 2, RETRY_SECONDS_MAX)

    def _pause(self, seconds: float) -> None:
        try:
            self._hurry.get(timeout=seconds)
        except queue.Empty:
            pass

    def _write_waiting(self) -> bool:
        """False when the disk refuses; what it did not take is kept."""
        try:
            while self._batch or self._next_batch():
                self._write_batch()
        except OSError as error:
            self._fail(error)
            return False
        if self._failing:
            self._failing = False
            logger.warning("expgraph: %s can be written again; %d lines were lost", self.path, self.dropped_lines)
        return True

    def _next_batch(self) -> bool:
        with self._wake:
            count, size = 0, 0
            for line in self._lines:
                if size >= MAX_WRITE_BYTES:
                    break
                count, size = count + 1, size + len(line)
            # The batch is there before its lines go, so that a flush never sees nothing waiting.
            self._batch = b"".join(itertools.islice(self._lines, count))
            for _ in range(count):
                self._lines.popleft()
            self._waiting_bytes -= size
        return count > 0

    def _write_batch(self) -> None:
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(self.path, flags, 0o666)
        if self._mid_line_at is not None and os.fstat(self._descriptor).st_size != self._mid_line_at:
            # Somebody else has written after our half of a line: it is lost, the lines after it are not.
            rest = self._batch.partition(b"\n")[2]
            self.dropped_lines += 1
            self._batch, self._mid_line_at = b"\n" + rest, None
        written = os.write(self._descriptor, self._batch)
        ends_line = self._batch[written - 1 : written] == b"\n"
        self._batch = self._batch[written:]
        self._mid_line_at = None if ends_line or not self._batch else os.fstat(self._descriptor).st_size

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            logger.warning(
                "expgraph: cannot write %s (%s); values wait in memory (%d MiB at most) and the run goes on",
                self.path, error.strerror or error, MAX_WAITING_BYTES // 1024 // 1024,
            )
        self._failing = True
        self._failures += 1
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError:
                # It was the descriptor that failed.
                pass

    def close(self) -> None:
        """Writes what waits, within a bounded time; says how much could not be written."""
        if self.flush(EXIT_FLUSH_SECONDS):
            return
        lost = len(self._lines) + self._batch.count(b"\n") + self.dropped_lines
        logger.warning("expgraph: %d lines could not be written to %s", lost, self.path)


def flush_all(timeout: float) -> bool:
    """Waits until the lines of all files are written, at most ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    return all(file.flush(max(0.0, deadline - time.monotonic())) for file in list(_open_files))


def _flush_at_end_of_child(file: LineFile) -> None:
    """Children of multiprocessing end without ``atexit``, but run its own finalizers."""
    multiprocessing_util = sys.modules.get("multiprocessing.util")
    if multiprocessing_util is not None:
        multiprocessing_util.Finalize(None, file.close, exitpriority=10)


def _close_all() -> None:
    for file in list(_open_files):
        file.close()


def _after_fork_in_child() -> None:
    for file in list(_open_files):
        file.forget_parent()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
