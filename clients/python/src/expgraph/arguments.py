"""What is given to a method, checked before anything is sent: a refusal names the argument, what was given, and what would be right."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from .errors import ExpgraphError, Fault

JOB_STATES = ("QUEUED", "SUBMITTING", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "HELD", "LOST")
EVENT_KINDS = (
    "JOB_STATE_CHANGED", "JOB_UPDATED", "ATTEMPT_STATE_CHANGED", "METRICS_APPENDED", "CHECKPOINT_CHANGED", "CHECKPOINT_REQUEST_CHANGED",
    "EXPERIMENT_CREATED", "SWEEP_CREATED", "PROJECT_UPDATED", "SECOND_EXECUTION", "NOTE",
)
FAILURE_CLASSES = (
    "CANCELLED", "COMMAND_NOT_FOUND", "CONTAINER", "CRASHED", "CUDA_OUT_OF_MEMORY", "DISK_QUOTA", "HOST_OUT_OF_MEMORY", "LOST", "MODULE_NOT_FOUND",
    "NAN_LOSS", "NODE_FAILURE", "PERMISSION_DENIED", "PREEMPTED", "SITE_RULE", "SUBMISSION_REFUSED", "TIME_LIMIT", "UNKNOWN",
)
GOALS = ("MIN", "MAX")
LOG_STREAMS = ("STDOUT", "STDERR")
ON_DUPLICATE = ("SKIP", "ERROR", "RUN_AGAIN")
SUMMARY_POINTS = ("LAST", "MIN", "MAX")
MAX_SHOWN_CHARACTERS = 80


def refusal(argument: str, given: Any, right: str) -> ExpgraphError:
    """The error for an argument that cannot be right. ``right`` goes on after "needs": what would be."""
    return fault(argument, f"needs {right}, not {_shown(given)}")


def fault(argument: str, message: str) -> ExpgraphError:
    """The error that says what is wrong with an argument."""
    return ExpgraphError.of_faults([Fault(argument, message, "BAD_USER_INPUT")])


def did_you_mean(word: Any, known: Sequence[str], meant: str | None = None) -> str:
    """`` (did you mean "..."?)`` where it is clear what is meant, or a known word is like this one; else nothing."""
    by_lower = {each.lower(): each for each in known}
    found = [meant] if meant is not None else [by_lower[each] for each in get_close_matches(str(word).lower(), by_lower, n=1)]
    return f' (did you mean "{found[0]}"?)' if found else ""


def unknown(argument: str, name: Any, known: Sequence[str], meant: str | None = None) -> ExpgraphError:
    """The error for a name that is not among those that are known."""
    return fault(argument, f"has no {_shown(name)}{did_you_mean(name, known, meant)}; there are {', '.join(known)}")


def text(argument: str, value: Any, right: str = "a text") -> str:
    """A text; a path counts as one."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise refusal(argument, value, right)
    return value


def texts(argument: str, value: Any, example: str) -> list[str]:
    """Texts; a single one counts as a list of it."""
    right = f"a text or a list of texts, such as {example}"
    each = [value] if isinstance(value, str) else listed(argument, value, right)
    for item in each:
        if not isinstance(item, str):
            raise refusal(argument, value, right)
    return each


def listed(argument: str, value: Any, right: str) -> list[Any]:
    """Several values, of whatever kind of sequence; a text is none, because its letters are never meant."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise refusal(argument, value, right)
    try:
        return list(value)
    except TypeError:
        # Arrays without a dimension are iterable by their type alone.
        raise refusal(argument, value, right) from None


def mapping(argument: str, value: Any, example: str) -> dict[str, Any]:
    """Names and values."""
    right = f"a dict, such as {example}"
    if not isinstance(value, Mapping):
        raise refusal(argument, value, right)
    for name in value:
        if not isinstance(name, str):
            raise refusal(argument, value, f"{right}, with texts as its names")
    return dict(value)


def mappings(argument: str, value: Any, example: str) -> list[dict[str, Any]]:
    """A list of mappings."""
    return [mapping(f"{argument}[{index}]", each, example) for index, each in enumerate(listed(argument, value, f"a list of dicts, such as [{example}]"))]


def command_line(value: Any) -> list[str]:
    """A command line, one element an argument."""
    if isinstance(value, str):
        right = ", ".join(f'"{part}"' for part in _split(value)) or '"python", "train.py"'
        raise refusal("command", value, f"a list with one element an argument, such as [{right}]")
    parts = listed("command", value, 'a list with one element an argument, such as ["python", "train.py"]')
    return [text(f"command[{index}]", part) for index, part in enumerate(parts)]


def choice(argument: str, value: Any, known: Sequence[str]) -> str:
    """One of some words, in any case, as the server spells it."""
    word = value.upper() if isinstance(value, str) else ""
    if word not in known:
        raise fault(argument, f"needs one of {', '.join(known)}, not {_shown(value)}{did_you_mean(value, known)}")
    return word


def choices(argument: str, value: Any, known: Sequence[str]) -> list[str]:
    """Some of some words; a single one counts as a list of it."""
    return [choice(argument, word, known) for word in texts(argument, value, f'["{known[0]}"]')]


def whole(argument: str, value: Any) -> int:
    """A whole number; numpy's count, too."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise refusal(argument, value, "a whole number")
    return int(value)


def number(argument: str, value: Any) -> float:
    """A number; numpy's, and arrays of one element without a dimension, count, too."""
    plain = value.tolist() if callable(getattr(value, "tolist", None)) else value
    if isinstance(plain, bool) or not isinstance(plain, Real):
        raise refusal(argument, value, "a number")
    return plain if isinstance(plain, int) else float(plain)


def truth(argument: str, value: Any) -> bool:
    """True or False; numpy's, too."""
    plain = value.tolist() if callable(getattr(value, "tolist", None)) else value
    if not isinstance(plain, bool):
        raise refusal(argument, value, "True or False")
    return plain


def camel(name: str) -> str:
    """``time_limit_minutes`` -> ``timeLimitMinutes``."""
    first, *rest = name.split("_")
    return first + "".join("MiB" if part == "mib" else part[:1].upper() + part[1:] for part in rest)


def known_keys(argument: str, value: Any, known: Sequence[str], example: str) -> dict[str, Any]:
    """A mapping of which all names are known, in the server's spelling; ``known`` are those of Python."""
    spelled = {camel(name) for name in known}
    checked = {}
    for name, each in mapping(argument, value, example).items():
        if camel(name) not in spelled:
            raise unknown(argument, name, known)
        checked[camel(name)] = each
    return checked


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _shown(value: Any) -> str:
    words = f'"{value}"' if isinstance(value, str) else repr(value)
    return words if len(words) <= MAX_SHOWN_CHARACTERS else f"{words[:MAX_SHOWN_CHARACTERS - 3]}..."
