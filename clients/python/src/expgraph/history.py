"""Whole metric histories, exactly, from the server's exports: as Arrow where pyarrow is installed, else as JSON lines."""

from __future__ import annotations

import json
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

from . import exports
from .arguments import refusal
from .errors import ExpgraphError
from .exports import Parameters, json_rows, pieces, places
from .scope import Scope
from .table import ColumnType, Form, Table
from .transport import Transport

HISTORY_TYPES: dict[str, ColumnType] = {"job_id": "word", "key": "word", "step": "integer", "time": "time", "value": "number"}
"""The columns of a history."""
ATTEMPT_TYPES: dict[str, ColumnType] = {**HISTORY_TYPES, "attempt": "integer"}
"""The columns of the histories of all attempts, each for itself."""
Attempts = Literal["last", "all"]
"""Of a step that several attempts of a job logged: what the last of them logged, or what each of them did."""
_PLACE = ["job_id", "key", "step", "attempt"]
"""What of a row tells its place in an export."""


class SampledWarning(UserWarning):
    """Of a history only a sample is left (never without its extremes): the project keeps whole histories for some time only."""


def history_types(attempts: Attempts) -> dict[str, ColumnType]:
    """The columns of histories."""
    if attempts not in ("last", "all"):
        raise refusal("attempts", attempts, '"last" or "all"')
    return ATTEMPT_TYPES if attempts == "all" else HISTORY_TYPES


def read_metrics(
    transport: Transport, scope: Scope, conditions: Mapping[str, Any], keys: list[str] | None, form: Form | None, attempts: Attempts = "last"
) -> Any:
    """A row for each point of the jobs, by job, key, step and attempt, in a form."""
    columns = history_types(attempts)
    parts = [(path, [*parameters, ("attempts", "all")] if attempts == "all" else parameters) for path, parameters in _parts(transport, scope, conditions, keys)]
    try:
        return _read_parts(transport, parts, form, columns, sampled=False)
    except ExpgraphError as error:
        if error.code != "CONFLICT":
            raise
        warnings.warn(f"these histories are not whole: {error.message}", SampledWarning, stacklevel=3)
        return _read_parts(transport, [(path, [*parameters, ("rolled_up", "include")]) for path, parameters in parts], form, columns, sampled=True)


def _read_parts(transport: Transport, parts: Sequence[tuple[str, Parameters]], form: Form | None, types: dict[str, ColumnType], *, sampled: bool) -> Any:
    attributes = {"sampled": sampled}
    if find_spec("pyarrow") is not None and (form in ("pandas", "polars", "arrow") or (form is None and find_spec("pandas") is not None)):
        return _as_arrow(transport, parts, form, types, attributes)
    columns: dict[str, list[Any]] = {name: [] for name in types}
    for path, parameters in parts:
        for rows in pieces(transport, f"{path}.jsonl", parameters, json_rows):
            for name, values in columns.items():
                values += [row[name] for row in rows]
    # JSON has no number for NaN and the infinities: they come as the texts that float reads.
    columns["value"] = [float(value) for value in columns["value"]]
    return Table(columns, types=types, attributes=attributes).to(form)


def _as_arrow(
    transport: Transport, parts: Sequence[tuple[str, Parameters]], form: Form | None, types: dict[str, ColumnType], attributes: Mapping[str, Any]
) -> Any:
    import pyarrow

    def read(response: Any) -> Iterator[tuple[Any, str]]:
        with pyarrow.ipc.open_stream(response) as stream:
            for batch in stream:
                if batch.num_rows > 0:
                    last = batch.select(_PLACE).slice(batch.num_rows - 1).to_pylist()[0]
                    yield batch.select(list(types)).cast(schema), json.dumps(last)

    word = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    arrow = {"word": word, "integer": pyarrow.int64(), "time": pyarrow.timestamp("ms", "UTC"), "number": pyarrow.float64()}
    schema = pyarrow.schema([pyarrow.field(name, arrow[type], type != "word") for name, type in types.items()])
    batches = [batch for path, parameters in parts for batch in pieces(transport, f"{path}.arrow", parameters, read)]
    table = pyarrow.Table.from_batches(batches, schema)
    if form == "arrow":
        return table.unify_dictionaries()
    if form == "polars":
        import polars

        return polars.from_arrow(table)
    frame = table.to_pandas()
    frame.attrs.update(attributes)
    return frame


def _parts(transport: Transport, scope: Scope, conditions: Mapping[str, Any], keys: list[str] | None) -> list[tuple[str, Parameters]]:
    """The exports that hold what is meant, each at an address that is not too long."""
    in_keys: list[Parameters] = [[]] if keys is None else [[("keys", key) for key in some] for some in _short_enough(keys)]
    return [(path, [*jobs, *some]) for path, jobs in places(transport, scope, conditions, "metrics") for some in in_keys]


def _short_enough(keys: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    characters = 0
    for key in dict.fromkeys(keys):
        length = len(urllib.parse.urlencode({"keys": key})) + 1
        if some and characters + length > exports.MAX_ADDRESS_CHARACTERS:
            yield some
            some, characters = [], 0
        some.append(key)
        characters += length
    if some:
        yield some
