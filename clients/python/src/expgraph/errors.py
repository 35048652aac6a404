"""What goes wrong, with the code of the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """One thing that is wrong with an input."""

    field: str
    """Dotted path into the input, such as ``resources.gpus``; empty for the input as a whole."""
    message: str
    code: str


class ExpgraphError(Exception):
    """The server said no, or could not be reached.

    ``code`` is for programs: one of the server's codes (``BAD_USER_INPUT``, ``NOT_FOUND``, ``UNAUTHENTICATED``, ...), or
    ``UNREACHABLE`` when no answer came and ``BAD_ANSWER`` when what came is not an answer of expgraph.
    ``faults`` lists what is wrong with an input, a field each; it is empty for other errors.
    """

    def __init__(self, message: str, *, code: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[Callable[..., ExpgraphError], tuple[object, ...]]:
        # A process pool sends the errors of its workers as pickles, and breaks when one cannot be read.
        return _again, (self.message, self.code, self.faults)

    @staticmethod
    def of_faults(faults: Sequence[Fault], doing: str | None = None) -> ExpgraphError:
        """The error that lists all faults; its code is that of the first."""
        lines = [f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in faults]
        listed = lines[0] if len(lines) == 1 else "".join(f"\n  - {line}" for line in lines)
        return ExpgraphError(f"{doing}: {listed}" if doing else listed, code=faults[0].code, faults=faults)


def _again(message: str, code: str, faults: Sequence[Fault]) -> ExpgraphError:
    return ExpgraphError(message, code=code, faults=faults)
