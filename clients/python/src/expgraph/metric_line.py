"""Turns what a training loop logs into lines of ``metrics.jsonl``, such that the server takes every one of them."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_NUMBERS_PER_LINE = 1000
"""The server drops a line with more; a larger call becomes several lines of the same step."""
MAX_KEY_LENGTH = 256
"""In UTF-16 units, as the server counts."""
MAX_DEPTH = 16
MAX_STEP = 2**53 - 1
"""Beyond it, the numbers of JSON are not exact."""
# Found here and not at the first use, which a signal handler that logs may interrupt: Python then says that there is no such encoding.
_UTF_16 = codecs.lookup("utf-16-le")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Rendered(NamedTuple):
    """Lines to append, and what could not be said in them."""

    lines: list[bytes]
    faults: list[str]


def render_lines(
    values: Mapping[Any, Any], *, step: Any, epoch: Any, phase: str | None, now: float
) -> Rendered:
    """Renders one call of ``log``.

    ``values`` may be nested: keys are joined by ``/``. ``now`` is in unix seconds. A value that is no number costs only
    itself; a step that is none costs the call, because nobody could tell where its values belong.
    """
    if not isinstance(values, Mapping):
        return Rendered([], [f"log takes a dict of names and numbers, not {type(values).__name__}"])
    faults: list[str] = []
    envelope, metrics = _envelope(values, step, epoch, phase, now, faults)
    if envelope is None:
        return Rendered([], faults)
    numbers: dict[str, float] = {}
    prefix = envelope.get("phase", "")
    problem = _key_problem(f"{prefix}/x", MAX_KEY_LENGTH) if prefix else None
    if problem is not None:
        return Rendered([], [f"phase {shown(prefix)} {problem}; the call was dropped"])
    _collect(metrics, "", MAX_KEY_LENGTH - (_length(prefix) + 1 if prefix else 0), numbers, faults, 1)
    items = list(numbers.items())
    # One place of a line is left for the epoch, which counts as a number.
    size = MAX_NUMBERS_PER_LINE - 1
    chunks = [dict(items[start : start + size]) for start in range(0, len(items), size)]
    if not chunks and "epoch" in envelope:
        chunks = [{}]
    return Rendered([_encode({**envelope, **chunk}) for chunk in chunks], faults)


def _encode(line: Mapping[str, Any]) -> bytes:
    return (_JSON.encode(line) + "\n").encode()


def _envelope(
    values: Mapping[Any, Any], step: Any, epoch: Any, phase: str | None, now: float, faults: list[str]
) -> tuple[dict[str, Any] | None, dict[Any, Any]]:
    """What says where the line belongs, and the values without it. None for a step that is none."""
    metrics = dict(values)
    # These names mean the same in a line, so a trainer that logs them as values is understood.
    logged_step, logged_phase = metrics.pop("step", None), metrics.pop("phase", None)
    envelope: dict[str, Any] = {}
    if step is None:
        step = logged_step
    if step is not None:
        number = whole_number(step)
        if number is None:
            faults.append(f"step must be a whole number from 0 to 2**53 - 1, not {shown(step)}; the call was dropped")
            return None, {}
        envelope["step"] = number
    if epoch is not None:
        metrics.pop("epoch", None)
        value = to_number(epoch)
        if value is None:
            faults.append(f"epoch must be a number, not {shown(epoch)}")
        else:
            envelope["epoch"] = value
    # A measurement may be called `time`; then ours has the other name that the server knows.
    free = next((name for name in ("time", "timestamp") if name not in metrics), None)
    if free is not None:
        envelope[free] = round(now, 3)
    if phase is None and isinstance(logged_phase, str):
        phase = logged_phase
    if phase:
        envelope["phase"] = str(phase)
    return envelope, metrics


def _collect(
    values: Mapping[Any, Any], path: str, longest: int, numbers: dict[str, float], faults: list[str], depth: int
) -> None:
    for name, value in values.items():
        try:
            key = f"{path}{name}"
        except Exception:  # noqa: BLE001 - whatever a foreign object raises, it costs only itself
            faults.append(f"a {type(name).__name__} is not a name")
            continue
        if isinstance(value, Mapping):
            if depth >= MAX_DEPTH:
                faults.append(f"{key[:80]!r} is nested more than {MAX_DEPTH} levels deep")
            else:
                _collect(value, f"{key}/", longest, numbers, faults, depth + 1)
            continue
        if value is None:
            continue
        number = to_number(value)
        problem = "is not a number" if number is None else _key_problem(key, longest)
        if problem is None and number is not None:
            numbers[key] = number
        else:
            faults.append(f"{key[:80]!r} {problem} ({type(value).__name__})")


def _key_problem(key: str, longest: int) -> str | None:
    if key == "" or key.endswith("/"):
        return "has an empty name"
    if "\0" in key:
        return "has a name with a NUL byte"
    try:
        length = _length(key)
    except UnicodeEncodeError:
        return "has a name that is not valid Unicode"
    return None if length <= longest else f"has a name of more than {longest} characters"


def _length(key: str) -> int:
    return len(_UTF_16.encode(key)[0]) // 2


def to_number(value: Any) -> float | None:
    """The number in a Python number, a numpy scalar or a tensor with one element; None when there is none."""
    kind = type(value)
    if kind is float:
        return float(value)
    if kind is int or kind is bool:
        return _exact(int(value))
    if value is None or isinstance(value, (str, bytes, complex)):
        return None
    try:
        # Tensors and numpy scalars, without importing what they come from. This waits for a GPU that still computes it.
        item = value.item() if callable(getattr(value, "item", None)) else float(value)
        if not isinstance(item, (int, float)):
            # numpy's long doubles are their own items.
            item = None if isinstance(item, (str, bytes, complex)) else float(item)
    except Exception:  # noqa: BLE001 - whatever a foreign object raises, a training run goes on
        return None
    if isinstance(item, int):
        return _exact(int(item))
    return float(item) if isinstance(item, float) else None


def _exact(value: int) -> float:
    if -MAX_STEP <= value <= MAX_STEP:
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def whole_number(value: Any) -> int | None:
    """A step: a whole number from 0 to ``MAX_STEP``; None when it is none."""
    number = None if isinstance(value, bool) else to_number(value)
    if number is None or number != number or number < 0 or number > MAX_STEP or number != int(number):
        return None
    return int(number)


def shown(value: Any) -> str:
    """A wrong value in a message. Some cannot be shown, such as whole numbers of thousands of digits."""
    try:
        return repr(str(value)[:50])
    except Exception:  # noqa: BLE001 - as above
        return f"a {type(value).__name__}"
