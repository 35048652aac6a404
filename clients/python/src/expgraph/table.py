"""A table of what the server answered, and its forms: pandas, polars, Arrow, rows, HTML."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, overload

from .arguments import refusal

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Form = Literal["pandas", "polars", "arrow", "table"]
ColumnType = Literal["time", "word", "integer", "number"]
"""``time``: moments, as ISO 8601 texts; ``word``: texts of which few are different; ``integer``: none is missing; ``number``: floats."""
_FORMS = ("pandas", "polars", "arrow", "table")
MAX_ROWS_SHOWN = 20


def check_form(form: Form | None) -> None:
    """Refuses what is no form."""
    if form not in (None, *_FORMS):
        raise refusal("form", form, '"pandas", "polars", "arrow" or "table"')


class Table(Sequence[dict[str, Any]]):
    """Columns of equal length. As a sequence it has a dict for each row; moments are ``datetime`` in UTC.

    ``attributes`` says what belongs to the table as a whole, as ``DataFrame.attrs`` does.
    """

    def __init__(
        self, columns: Mapping[str, Sequence[Any]], *, types: Mapping[str, ColumnType] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """``types`` says what is in columns whose values do not tell, or need not be asked one by one."""
        self._columns = {name: list(values) for name, values in columns.items()}
        self._types = {name: type for name, type in (types or {}).items() if name in self._columns}
        self.attributes = dict(attributes or {})

    @classmethod
    def of_rows(
        cls, rows: Sequence[Mapping[str, Any]], *, types: Mapping[str, ColumnType] | None = None, columns: Sequence[str] = ()
    ) -> Table:
        """A column for each of ``columns`` and each name in any row, in the order of their first appearance; None where a row has none."""
        names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
        return cls({name: [row.get(name) for row in rows] for name in names}, types=types)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._columns)

    def column(self, name: str) -> list[Any]:
        """The values of one column."""
        values = self._columns[name]
        return [moment(value) for value in values] if self._types.get(name) == "time" else values

    def select(self, names: Sequence[str]) -> Table:
        """The table with these columns, in this order."""
        return Table({name: self._columns[name] for name in names}, types=self._types, attributes=self.attributes)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), []))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | Table:
        if isinstance(index, slice):
            return Table({name: values[index] for name, values in self._columns.items()}, types=self._types, attributes=self.attributes)
        row = {name: values[index] for name, values in self._columns.items()}
        return {name: moment(value) if self._types.get(name) == "time" else value for name, value in row.items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def to_pandas(self) -> pandas.DataFrame:
        """A ``pandas.DataFrame``; moments are in UTC, words are categories."""
        import pandas

        frame = pandas.DataFrame(self._columns)
        for name, type in self._types.items():
            if type == "time":
                moments = pandas.to_datetime(frame[name], utc=True, format="ISO8601")
                # Before version 2 pandas knew nothing but nanoseconds.
                frame[name] = moments.dt.as_unit("ms") if hasattr(moments.dt, "as_unit") else moments
            else:
                frame[name] = frame[name].astype({"word": "category", "integer": "int64", "number": "float64"}[type])
        frame.attrs.update(self.attributes)
        return frame

    def to_polars(self) -> polars.DataFrame:
        """A ``polars.DataFrame``. A column with values of several types becomes texts."""
        import polars

        types = {"time": polars.Datetime("ms", "UTC"), "word": polars.Categorical, "integer": polars.Int64, "number": polars.Float64}
        schema = {name: types[type] for name, type in self._types.items()}
        columns = {name: _of_one_type(self.column(name)) for name in self._columns}
        return polars.DataFrame(columns, schema_overrides=schema, strict=False, infer_schema_length=None)

    def to_arrow(self) -> pyarrow.Table:
        """A ``pyarrow.Table``. A column with values of several types becomes texts."""
        import pyarrow

        types = {"time": pyarrow.timestamp("ms", "UTC"), "integer": pyarrow.int64(), "number": pyarrow.float64(), "word": pyarrow.string()}

        def array(name: str) -> Any:
            type = self._types.get(name)
            values = pyarrow.array(_of_one_type(self.column(name)), types.get(type) if type else None)
            return values.dictionary_encode() if type == "word" else values

        return pyarrow.table({name: array(name) for name in self._columns})

    @overload
    def to(self, form: Literal["pandas"] | None) -> pandas.DataFrame: ...
    @overload
    def to(self, form: Literal["polars"]) -> polars.DataFrame: ...
    @overload
    def to(self, form: Literal["arrow"]) -> pyarrow.Table: ...
    @overload
    def to(self, form: Literal["table"]) -> Table: ...
    def to(self, form: Form | None) -> Any:
        """The table in a form; None: a ``pandas.DataFrame`` where pandas is installed, else the table itself."""
        if form is None:
            try:
                return self.to_pandas()
            except ImportError:
                return self
        if form == "table":
            return self
        check_form(form)
        return {"pandas": self.to_pandas, "polars": self.to_polars, "arrow": self.to_arrow}[form]()

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {', '.join(self._columns)}>"

    def _repr_html_(self) -> str:
        return html_table(self.columns, [list(row.values()) for row in self[:MAX_ROWS_SHOWN]], count=len(self))


def html_table(names: Sequence[str], rows: Sequence[Sequence[Any]], *, count: int | None = None, title: str = "") -> str:
    """An HTML table with everything escaped; ``count`` is how many rows there are when not all are shown."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(shown(value))}</td>" for value in row) + "</tr>" for row in rows)
    caption = f"<p><b>{html.escape(title)}</b></p>" if title else ""
    more = f"<p>{count - len(rows)} more</p>" if count is not None and count > len(rows) else ""
    return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def shown(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def moment(text: Any) -> datetime | None:
    """The moment of an ISO 8601 text of the server; None for none."""
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))


def flatten(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested values under dotted names: ``{"optim": {"lr": 1}}`` -> ``{"config.optim.lr": 1}``. Lists stay as they are."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _of_one_type(values: list[Any]) -> list[Any]:
    """Columnar formats have one type a column; numbers of both kinds count as one."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) < 2 and dict not in kinds:
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value, default=str) for value in values]
