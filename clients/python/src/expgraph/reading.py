"""What came out of jobs: their results, metrics and checkpoints, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from .arguments import JOB_STATES, choices, text, texts, whole
from .history import Attempts, history_types, read_metrics
from .records import Checkpoint, Experiment
from .results import leaderboard_table, read_best_checkpoint, read_leaderboard, read_ordered_results, read_results, read_sampled_metrics
from .scope import Meant, Scope, experiment_of, scope_of
from .table import Form, Table, check_form
from .transport import Transport
from .wording import goal as goal_of
from .wording import job_filter, named_columns, result_order

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Reading:
    """The calls of a client that answer tables. Without pandas a type checker takes what they answer by default for ``Any``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @overload
    def results(
        self, of: Meant, *, project: str | None = ..., filter: Mapping[str, Any] | None = ..., order_by: str | Iterable[str] | None = ...,
        metric: str | None = ..., goal: str | None = ..., form: Literal["pandas"] | None = ...,
    ) -> pandas.DataFrame: ...
    @overload
    def results(
        self, of: Meant, *, project: str | None = ..., filter: Mapping[str, Any] | None = ..., order_by: str | Iterable[str] | None = ...,
        metric: str | None = ..., goal: str | None = ..., form: Literal["polars"],
    ) -> polars.DataFrame: ...
    @overload
    def results(
        self, of: Meant, *, project: str | None = ..., filter: Mapping[str, Any] | None = ..., order_by: str | Iterable[str] | None = ...,
        metric: str | None = ..., goal: str | None = ..., form: Literal["arrow"],
    ) -> pyarrow.Table: ...
    @overload
    def results(
        self, of: Meant, *, project: str | None = ..., filter: Mapping[str, Any] | None = ..., order_by: str | Iterable[str] | None = ...,
        metric: str | None = ..., goal: str | None = ..., form: Literal["table"],
    ) -> Table: ...
    def results(
        self, of: Meant, *, project: str | None = None, filter: Mapping[str, Any] | None = None,
        order_by: str | Iterable[str] | None = None, metric: str | None = None, goal: str | None = None, form: Form | None = None,
    ) -> Any:
        """A row for each completed job of an experiment (by name), a sweep or some jobs.

        Answers a ``pandas.DataFrame`` where pandas is installed, else a ``Table``; ``form`` chooses: ``"pandas"``, ``"polars"``,
        ``"arrow"`` or ``"table"``. Columns: ``job.id``, ``job.name``, ``job.state``, ``tags`` (a list), ``config.optim.lr`` and
        so on for each configuration value, ``metrics.val/loss`` and so on for the value of each metric at its last step,
        ``checkpoint.path``, ``.uri``, ``.state``, ``.step``, ``.epoch`` of the checkpoint to load, ``job.started_at``, ``job.finished_at``
        (UTC), ``job.sweep_id``, ``job.directory``. What a job does not have is missing (None, NaN). Where no job has completed yet,
        the columns are those that every job has, and those that ``filter`` and ``order_by`` name.

        ``filter``: ``{"config.optim.lr": 0.1, "config.depth": {"gte": 3}, "metrics.val/loss": {"lt": 0.5}, "tags": ["baseline"]}``;
        a list of values means one of them; further names are those of ``JobFilter``.
        ``order_by``: names of columns, with ``-`` in front for the greatest first: ``"-metrics.val/accuracy"``.
        ``metric`` and ``goal`` (``"min"`` or ``"max"``) say which checkpoint is best; the experiment's objective when left out.
        """
        check_form(form)
        conditions, order, best = job_filter(filter), result_order(order_by), _best(metric, goal)
        scope, named = self._scope(of, project), named_columns(conditions, order)
        if not order:
            return read_results(self._transport, scope, conditions, *best, named).to(form)
        return read_ordered_results(self._transport, {**conditions, **scope.filter()}, order, *best, named).to(form)

    @overload
    def metrics(
        self, of: Meant, keys: str | Iterable[str] | None = ..., *, project: str | None = ..., filter: Mapping[str, Any] | None = ...,
        max_points: int | None = ..., attempts: Attempts = ..., form: Literal["pandas"] | None = ...,
    ) -> pandas.DataFrame: ...
    @overload
    def metrics(
        self, of: Meant, keys: str | Iterable[str] | None = ..., *, project: str | None = ..., filter: Mapping[str, Any] | None = ...,
        max_points: int | None = ..., attempts: Attempts = ..., form: Literal["polars"],
    ) -> polars.DataFrame: ...
    @overload
    def metrics(
        self, of: Meant, keys: str | Iterable[str] | None = ..., *, project: str | None = ..., filter: Mapping[str, Any] | None = ...,
        max_points: int | None = ..., attempts: Attempts = ..., form: Literal["arrow"],
    ) -> pyarrow.Table: ...
    @overload
    def metrics(
        self, of: Meant, keys: str | Iterable[str] | None = ..., *, project: str | None = ..., filter: Mapping[str, Any] | None = ...,
        max_points: int | None = ..., attempts: Attempts = ..., form: Literal["table"],
    ) -> Table: ...
    def metrics(
        self, of: Meant, keys: str | Iterable[str] | None = None, *, project: str | None = None,
        filter: Mapping[str, Any] | None = None, max_points: int | None = None, attempts: Attempts = "last", form: Form | None = None,
    ) -> Any:
        """Metric histories, every point of them, a row each, as ``results`` gives tables.

        Columns: ``job_id`` and ``key`` (such as ``val/loss``; both categories, since few are different), ``step`` (int64), ``time``
        (datetime, UTC, milliseconds), ``value`` (float64; NaN and infinities as they were logged). By job, key and step; of a step
        that was logged again after a restart comes the later value. ``keys``: which metrics, all when left out (an
        empty list means none). ``filter`` as for ``results``.

        ``max_points``: most points of each history, 2 to 10,000; a longer one is sampled so that its extremes stay, which is enough
        for a chart. ``attrs["sampled"]`` (``attributes`` of a ``Table``) says whether any was. Without it all points come; where the
        project keeps whole histories for some time only and that is over, what is left, with a ``SampledWarning``.

        ``attempts="all"``: the history of each attempt for itself, also where a later one logged the same steps, with a column
        ``attempt`` (int64; the first is 1). ``max_points`` then counts for each attempt.

        Millions of points take seconds with pyarrow installed, and several times as long without.
        """
        check_form(form)
        history_types(attempts)
        wanted = None if keys is None else texts("keys", keys, '["val/loss", "lr"]')
        conditions, most = job_filter(filter), None if max_points is None else whole("max_points", max_points)
        scope = self._scope(of, project)
        if most is None:
            return read_metrics(self._transport, scope, conditions, wanted, form, attempts)
        return read_sampled_metrics(self._transport, {**conditions, **scope.filter()}, wanted, most, attempts).to(form)

    @overload
    def leaderboard(
        self, experiment: str | Experiment, *, project: str | None = ..., group_by: str | Iterable[str] | None = ..., metric: str | None = ...,
        goal: str | None = ..., states: str | Iterable[str] = ..., first: int = ..., form: Literal["pandas"] | None = ...,
    ) -> pandas.DataFrame: ...
    @overload
    def leaderboard(
        self, experiment: str | Experiment, *, project: str | None = ..., group_by: str | Iterable[str] | None = ..., metric: str | None = ...,
        goal: str | None = ..., states: str | Iterable[str] = ..., first: int = ..., form: Literal["polars"],
    ) -> polars.DataFrame: ...
    @overload
    def leaderboard(
        self, experiment: str | Experiment, *, project: str | None = ..., group_by: str | Iterable[str] | None = ..., metric: str | None = ...,
        goal: str | None = ..., states: str | Iterable[str] = ..., first: int = ..., form: Literal["arrow"],
    ) -> pyarrow.Table: ...
    @overload
    def leaderboard(
        self, experiment: str | Experiment, *, project: str | None = ..., group_by: str | Iterable[str] | None = ..., metric: str | None = ...,
        goal: str | None = ..., states: str | Iterable[str] = ..., first: int = ..., form: Literal["table"],
    ) -> Table: ...
    def leaderboard(
        self, experiment: str | Experiment, *, project: str | None = None, group_by: str | Iterable[str] | None = None,
        metric: str | None = None, goal: str | None = None, states: str | Iterable[str] = ("COMPLETED",), first: int = 20,
        form: Form | None = None,
    ) -> Any:
        """Which configurations did best, by each job's best value of the metric: a row each, best first.

        ``group_by``: dotted configuration keys; jobs that agree in them form one row, over the rest (the seeds). Columns:
        ``rank``, ``config.*``, ``mean``, ``standard_deviation`` (missing for a group of one), ``n``, ``best_value``, ``step`` and
        ``job.id`` of the best value, ``checkpoint.path``, and ``checkpoint.state``: what is ``ARCHIVED`` has to be restored first.
        Without a row it has the columns of ``group_by`` all the same.
        """
        check_form(form)
        best, count = _best(metric, goal), whole("first", first)
        keys = None if group_by is None else texts("group_by", group_by, '["optim.lr"]')
        in_states = choices("states", states, JOB_STATES)
        found = experiment_of(self._transport, experiment, project)
        rows = read_leaderboard(self._transport, found.id, metric=best[0], goal=best[1], groupBy=keys, states=in_states, first=count)
        return leaderboard_table(rows, keys or []).to(form)

    def best_checkpoint(self, of: Meant, metric: str | None = None, goal: str | None = None, *, project: str | None = None) -> Checkpoint:
        """The checkpoint to load, among those of an experiment, a sweep or some jobs that exist: the one whose value of the
        metric at or before its step is best. ``metric`` and ``goal`` (``"min"``, ``"max"``) default to the experiment's objective.
        """
        best = _best(metric, goal)
        return read_best_checkpoint(self._transport, self._scope(of, project), *best)

    def _scope(self, of: Meant, project: str | None) -> Scope:
        return scope_of(self._transport, of, project)


def _best(metric: str | None, goal: str | None) -> tuple[str | None, str | None]:
    return None if metric is None else text("metric", metric), goal_of(goal)
