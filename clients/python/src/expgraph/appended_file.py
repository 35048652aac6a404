"""A file of lines that other processes append to as well, and that may be removed, replaced or cut off in the middle of a line."""

from __future__ import annotations

import os
import stat

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
"""Not blocking: a pipe that nobody reads fails at once instead of holding the writer up. Regular files do not care."""


class AppendedFile:
    """Takes bytes that consist of whole lines, as many of them at once as the disk takes. Raises what the system raises."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.broken_lines = 0
        """Lines of which the disk took only a part before somebody else wrote."""
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._end: int | None = None
        """Where our last write ended; -1 where we have written nothing yet, None in what is no regular file."""
        self._is_mid_line = False

    def write(self, lines: bytes) -> bytes:
        """Answers what the disk did not take, with which the next call has to go on."""
        descriptor = self._open()
        others_wrote = self._end is not None and os.fstat(descriptor).st_size != self._end
        if others_wrote:
            lines = self._apart(lines)
        written = os.write(descriptor, lines)
        if others_wrote and self._is_mid_line:
            self.broken_lines += 1
        self._is_mid_line = written > 0 and lines[written - 1 : written] != b"\n"
        if self._end is not None:
            # Not the size of the file: another process may have added to that.
            self._end = os.lseek(descriptor, 0, os.SEEK_CUR)
        return lines[written:]

    def close(self) -> None:
        """Gives the descriptor back; the next write opens the file again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            # A program that closes every descriptor, to become a daemon, may have another file under this number.
            if _identity(os.fstat(descriptor)) == self._identity:
                os.close(descriptor)
        except OSError:
            # It was the descriptor that failed.
            pass

    def _open(self) -> int:
        """The descriptor of the file that has our name now: it may have been removed or replaced since the last write."""
        if self._descriptor is not None:
            if self._is_still_there(self._descriptor):
                return self._descriptor
            self.close()
        self._descriptor = os.open(self.path, _FLAGS, 0o666)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            self._end = None
        elif self._end is None or _identity(found) != self._identity:
            self._end = -1
        self._identity = _identity(found)
        return self._descriptor

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            return _identity(os.stat(self.path)) == self._identity == _identity(os.fstat(descriptor))
        except OSError:
            return False

    def _apart(self, lines: bytes) -> bytes:
        """The lines, kept apart from half a line at the end of the file: of a process that was killed, or found the disk full."""
        if self._is_mid_line:
            # Somebody else has written after our half of a line: it is lost, the lines after it are not.
            lines = lines.partition(b"\n")[2]
        with open(self.path, "rb") as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    return b"\n" + lines
        return lines


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
