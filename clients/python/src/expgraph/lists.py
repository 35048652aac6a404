"""Lists of experiments, sweeps and jobs, which show as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .records import Experiment, Job, Sweep
from .table import MAX_ROWS_SHOWN, Table, flatten, html_table

if TYPE_CHECKING:
    import pandas

Record = TypeVar("Record", Experiment, Sweep, Job)


class Records(list[Record], Generic[Record]):
    """A list of experiments, sweeps or jobs, with a table of them in a notebook."""

    def table(self) -> Table:
        """A row each; configurations in columns such as ``config.optim.lr``."""
        return Table.of_rows([_row(record) for record in self])

    def to_pandas(self) -> pandas.DataFrame:
        """A ``pandas.DataFrame`` with a row each."""
        return self.table().to_pandas()

    def _repr_html_(self) -> str:
        rows = [record._fields() for record in self[:MAX_ROWS_SHOWN]]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return html_table(names, [[row.get(name) for name in names] for row in rows], count=len(self))


def _row(record: Experiment | Sweep | Job) -> dict[str, Any]:
    row = dict(vars(record))
    if isinstance(record, Sweep):
        row["experiment"] = record.experiment.name
    if isinstance(record, Job):
        row.update(flatten(row.pop("config"), "config."))
    return row
