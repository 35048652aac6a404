"""The client: experiments into a notebook, and jobs out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import ExpgraphError
from .history import Attempts, read_metrics
from .mutations import SUBMIT_JOB, SUBMIT_SWEEP, Changes, change_jobs, mutate
from .pages import pages
from .records import EXPERIMENT_FIELDS, JOB_FIELDS, SWEEP_FIELDS, Checkpoint, Experiment, Job, Progress, Records, Submission, Sweep
from .results import leaderboard_table, read_best_checkpoint, read_leaderboard, read_ordered_results, read_results, read_sampled_metrics
from .scope import Meant, Scope, find_experiment, scope_of, split_experiment
from .submitting import Values, job_input, submission_of, sweep_input
from .table import Form
from .transport import Transport
from .waiting import ProgressBar, read_progress, wait_until_done
from .watch import Watch
from .wording import camel_keys, job_filter, result_order
from .wording import goal as goal_of
from .wording import objective as objective_of

_EXPERIMENTS = f"""query Experiments($filter: ExperimentFilter, $first: Int, $after: String) {{
  page: experiments(filter: $filter, first: $first, after: $after) {{ nodes {{ {EXPERIMENT_FIELDS} }} pageInfo {{ endCursor hasNextPage }} }}
}}"""
_SWEEPS = f"""query Sweeps($project: String!, $name: String!, $first: Int, $after: String) {{
  experiment(project: $project, name: $name) {{
    sweeps(first: $first, after: $after) {{ nodes {{ {SWEEP_FIELDS} }} pageInfo {{ endCursor hasNextPage }} }}
  }}
}}"""
_JOBS = f"""query Jobs($filter: JobFilter, $first: Int, $after: String) {{
  page: jobs(filter: $filter, first: $first, after: $after) {{ nodes {{ {JOB_FIELDS} }} pageInfo {{ endCursor hasNextPage }} }}
}}"""
_LOG = """query Log($id: ID!, $lines: Int, $stream: LogStream) { job(id: $id) { currentAttempt { logTail(lines: $lines, stream: $stream) } } }"""


class Client:
    """Speaks to a server of expgraph. Safe to use from several threads, and inside a running event loop."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        """``url``: ``EXPGRAPH_URL``, else ``http://127.0.0.1:4000``. ``token``: ``EXPGRAPH_TOKEN``, else, for a server on this
        machine, the one in its data directory.
        """
        self._transport = Transport(url, token)

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def graphql(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """Runs any query or mutation. Answers its ``data``; raises ``ExpgraphError`` when the answer has errors.

        Errors in the ``userErrors`` of a mutation are data, and not raised here.
        """
        return self._transport.request(query, variables)

    # What there is

    def experiments(self, project: str | None = None, *, name: str | None = None, tags: Sequence[str] | None = None) -> Records[Experiment]:
        """Experiments, newest first: of a project, with a part of their name, with all of these tags."""
        conditions = {"project": project, "nameContains": name, "tagsAll": tags}
        given = {key: value for key, value in conditions.items() if value is not None}
        return Records(Experiment.of(node) for node in pages(self._transport, _EXPERIMENTS, {"filter": given}))

    def experiment(self, name: str, project: str | None = None) -> Experiment:
        """The experiment of that name; ``"project/name"`` or ``project=`` where several projects have one."""
        return find_experiment(self._transport, name, project)

    def sweeps(self, experiment: str | Experiment, project: str | None = None) -> Records[Sweep]:
        """The sweeps of an experiment, oldest first."""
        found = experiment if isinstance(experiment, Experiment) else find_experiment(self._transport, experiment, project)
        sweeps: Records[Sweep] = Records()
        after = None
        while True:
            variables = {"project": found.project, "name": found.name, "first": 100, "after": after}
            page = self._transport.request(_SWEEPS, variables)["experiment"]["sweeps"]
            sweeps += [Sweep.of(node) for node in page["nodes"]]
            if not page["pageInfo"]["hasNextPage"]:
                return sweeps
            after = page["pageInfo"]["endCursor"]

    def sweep(self, id: str) -> Sweep:
        """A sweep by its id."""
        answer = self.graphql(f"query Sweep($id: ID!) {{ sweep(id: $id) {{ {SWEEP_FIELDS} }} }}", id=id)["sweep"]
        if answer is None:
            raise ExpgraphError(f"there is no sweep {id}", code="NOT_FOUND")
        return Sweep.of(answer)

    def jobs(self, of: Meant | None = None, *, project: str | None = None, filter: Mapping[str, Any] | None = None) -> Records[Job]:
        """Jobs in whatever state, oldest first: of an experiment or a sweep, or of all. ``filter`` as for ``results``."""
        return Records(Job.of(node) for node in pages(self._transport, _JOBS, {"filter": self._filter(of, project, filter)}))

    def job(self, id: str) -> Job:
        """A job by its id."""
        answer = self.graphql(f"query Job($id: ID!) {{ job(id: $id) {{ {JOB_FIELDS} }} }}", id=id)["job"]
        if answer is None:
            raise ExpgraphError(f"there is no job {id}", code="NOT_FOUND")
        return Job.of(answer)

    def log(self, job: str | Job, *, lines: int = 50, stream: str = "stdout") -> str:
        """The end of a job's log, as it was last read from its cluster. ``stream``: ``stdout`` or ``stderr``; at most 10,000 lines."""
        id = job.id if isinstance(job, Job) else job
        answer = self.graphql(_LOG, id=id, lines=lines, stream=stream.upper())["job"]
        if answer is None:
            raise ExpgraphError(f"there is no job {id}", code="NOT_FOUND")
        return (answer["currentAttempt"] or {}).get("logTail") or ""

    # What came out

    def results(
        self, of: Meant, *, project: str | None = None, filter: Mapping[str, Any] | None = None,
        order_by: str | Iterable[str] | None = None, metric: str | None = None, goal: str | None = None, form: Form | None = None,
    ) -> Any:
        """A row for each completed job of an experiment (by name), a sweep or some jobs.

        Answers a ``pandas.DataFrame`` where pandas is installed, else a ``Table``; ``form`` chooses: ``"pandas"``, ``"polars"``,
        ``"arrow"`` or ``"table"``. Columns: ``job.id``, ``job.name``, ``job.state``, ``tags`` (a list), ``config.optim.lr`` and
        so on for each configuration value, ``metrics.val/loss`` and so on for the final value of each metric,
        ``checkpoint.path``, ``.uri``, ``.state``, ``.step``, ``.epoch`` of the checkpoint to load, ``job.started_at``, ``job.finished_at``
        (UTC), ``job.sweep_id``, ``job.directory``. What a job does not have is missing (None, NaN).

        ``filter``: ``{"config.optim.lr": 0.1, "config.depth": {"gte": 3}, "metrics.val/loss": {"lt": 0.5}, "tags": ["baseline"]}``;
        a list of values means one of them; further names are those of ``JobFilter``.
        ``order_by``: names of columns, with ``-`` in front for the greatest first: ``"-metrics.val/accuracy"``.
        ``metric`` and ``goal`` (``"min"`` or ``"max"``) say which checkpoint is best; the experiment's objective when left out.
        """
        scope, conditions, order = self._scope(of, project), job_filter(filter), result_order(order_by)
        if not order:
            return read_results(self._transport, scope, conditions, metric, goal_of(goal)).to(form)
        return read_ordered_results(self._transport, {**conditions, **scope.filter()}, order, metric, goal_of(goal)).to(form)

    def metrics(
        self, of: Meant, keys: str | Iterable[str] | None = None, *, project: str | None = None,
        filter: Mapping[str, Any] | None = None, max_points: int | None = None, attempts: Attempts = "last", form: Form | None = None,
    ) -> Any:
        """Metric histories, every point of them, a row each, as ``results`` gives tables.

        Columns: ``job_id`` and ``key`` (such as ``val/loss``; both categories, since few are different), ``step`` (int64), ``time``
        (datetime, UTC, milliseconds), ``value`` (float64; NaN and infinities as they were logged). By job, key and step; of a step
        that was logged again after a restart comes the later value. ``keys``: which metrics, all when left out. ``filter`` as for ``results``.

        ``max_points``: most points of each history, 2 to 10,000; a longer one is sampled so that its extremes stay, which is enough
        for a chart. ``attrs["sampled"]`` (``attributes`` of a ``Table``) says whether any was. Without it all points come; where the
        project keeps whole histories for some time only and that is over, what is left, with a ``SampledWarning``.

        ``attempts="all"``: the history of each attempt for itself, also where a later one logged the same steps, with a column
        ``attempt`` (int64; the first is 1). ``max_points`` then counts for each attempt.

        Millions of points take seconds with pyarrow installed, and several times as long without.
        """
        wanted = None if keys is None else [keys] if isinstance(keys, str) else list(keys)
        scope = self._scope(of, project)
        if max_points is None:
            return read_metrics(self._transport, scope, job_filter(filter), wanted, form, attempts)
        return read_sampled_metrics(self._transport, {**job_filter(filter), **scope.filter()}, wanted, max_points, attempts).to(form)

    def leaderboard(
        self, experiment: str | Experiment, *, project: str | None = None, group_by: Iterable[str] | None = None,
        metric: str | None = None, goal: str | None = None, states: Iterable[str] = ("COMPLETED",), first: int = 20,
        form: Form | None = None,
    ) -> Any:
        """Which configurations did best, by each job's best value of the metric: a row each, best first.

        ``group_by``: dotted configuration keys; jobs that agree in them form one row, over the rest (the seeds). Columns:
        ``rank``, ``config.*``, ``mean``, ``standard_deviation`` (missing for a group of one), ``n``, ``best_value``, ``step`` and
        ``job.id`` of the best value, ``checkpoint.path``.
        """
        found = experiment if isinstance(experiment, Experiment) else find_experiment(self._transport, experiment, project)
        keys = None if group_by is None else list(group_by)
        rows = read_leaderboard(
            self._transport, found.id, metric=metric, goal=goal_of(goal), groupBy=keys, states=[state.upper() for state in states], first=first
        )
        return leaderboard_table(rows).to(form)

    def best_checkpoint(self, of: Meant, metric: str | None = None, goal: str | None = None, *, project: str | None = None) -> Checkpoint:
        """The checkpoint to load, among those of an experiment, a sweep or some jobs that exist: the one whose value of the
        metric at or before its step is best. ``metric`` and ``goal`` (``"min"``, ``"max"``) default to the experiment's objective.
        """
        return read_best_checkpoint(self._transport, self._scope(of, project), metric, goal_of(goal))

    # Submitting

    def submit_job(
        self, experiment: str | Experiment, command: Sequence[str], config: Mapping[str, Any], *, project: str | None = None,
        name: str | None = None, objective: tuple[str, str] | Mapping[str, Any] | None = None, dry_run: bool = False, **options: Any,
    ) -> Submission:
        """Submits one job. ``options`` as for ``submit_sweep``, without those of the search space."""
        where = split_experiment(experiment, project)
        sent = job_input({**where, "command": list(command), "config": config, "name": name, "objective": objective_of(objective), "dryRun": dry_run}, options)
        return submission_of(mutate(self._transport, "submitJob", SUBMIT_JOB, sent))

    def submit_sweep(
        self, experiment: str | Experiment, command: Sequence[str], *, project: str | None = None, name: str | None = None,
        base: Mapping[str, Any] | None = None, grid: Mapping[str, Iterable[Any]] | None = None,
        seeds: Iterable[int] | None = None, configs: Iterable[Mapping[str, Any]] | None = None,
        random: Mapping[str, Values] | None = None, draws: int | None = None, draw_seed: int | None = None, seed_key: str | None = None,
        objective: tuple[str, str] | Mapping[str, Any] | None = None, dry_run: bool = False, **options: Any,
    ) -> Submission:
        """Submits every job of a search space: ``configs`` x ``draws`` from ``random`` x ``grid`` x ``seeds``, laid over ``base``.

        ``experiment``: ``"project/name"``, made when it is not there. ``command``: one element an argument; ``"{overrides}"``
        becomes one ``key=value`` argument for each configuration value. ``grid``: ``{"optim.lr": [0.01, 0.1]}``. ``random``:
        ``{"optim.lr": LogRange(1e-5, 1e-1), "dropout": Range(0, 0.5), "depth": [2, 4, 8]}`` with ``draws=20``. ``objective``:
        ``("val/loss", "min")``. ``dry_run``: answers what would happen, with the scripts, and submits nothing.
        ``options``: those of ``SubmitSweepInput``, in Python's spelling: ``cluster``, ``working_directory``, ``environment``,
        ``resources`` (``{"gpus": 1, "time_limit_minutes": 60}``), ``tags``, ``tag_keys``, ``priority``, ``priority_rules``, ``held``,
        ``on_duplicate``, ``code_version``, ``retry_policy``, ``idempotency_key``.
        """
        where = split_experiment(experiment, project)
        space = {"base": base, "grid": grid, "seeds": seeds, "list": configs, "random": random, "draws": draws, "draw_seed": draw_seed, "seed_key": seed_key}
        common = {**where, "command": list(command), "name": name or where["experiment"], "objective": objective_of(objective), "dryRun": dry_run}
        return submission_of(mutate(self._transport, "submitSweep", SUBMIT_SWEEP, sweep_input(common, space, options)))

    # Following

    def watch(
        self, of: Meant | None = None, *, project: str | None = None, kinds: Iterable[str] | None = None,
        to_states: Iterable[str] | None = None, after: str | None = None,
    ) -> Watch:
        """Events as they happen, of an experiment, a sweep, some jobs, or all; for ``for`` and for ``async for``.

        ``kinds``: such as ``["JOB_STATE_CHANGED"]``; ``to_states``: only changes of jobs into one of these. ``after``: the cursor
        of the last event that is known already (``"0"``: from the beginning); left out, what happens from now on. It reconnects
        by itself, from where it was, until ``close`` is called or the server refuses it.
        """
        conditions = {} if of is None else self._scope(of, project).event_filter()
        for name, words in (("kinds", kinds), ("toStates", to_states)):
            if words is not None:
                conditions[name] = [word.upper() for word in words]
        now = self.graphql("query { eventCursor }")["eventCursor"]
        return Watch(self._transport, conditions, now if after is None else after)

    def progress(self, of: Meant, *, project: str | None = None) -> Progress:
        """How far the jobs of an experiment, a sweep or a submission are."""
        return read_progress(self._transport, self._scope(of, project))

    def wait(self, of: Meant, *, project: str | None = None, timeout: float | None = None, progress: bool = True) -> Progress:
        """Waits until every job has ended that is not held, with a progress bar (tqdm's where it is installed).

        Answers the progress at the end: jobs that failed are in its ``states``. ``timeout``: in seconds; raises ``TimeoutError``.
        Interrupting it leaves the jobs alone.
        """
        scope = self._scope(of, project)
        watch = self.watch(of if scope.kind == "experiment" else scope.ids if scope.kind == "jobs" else scope.ids[0], kinds=["JOB_STATE_CHANGED"])
        return wait_until_done(self._transport, scope, watch, timeout, ProgressBar(progress))

    # Changing jobs: those of an experiment, a sweep, or some jobs; `filter` (as for `results`) narrows them down.

    def cancel(self, of: Meant | None = None, *, filter: Mapping[str, Any] | None = None, dry_run: bool = False) -> Changes:
        """Cancels jobs. One that a cluster holds ends when the cluster says so."""
        return self._change("cancelJobs", of, filter, dry_run)

    def hold(self, of: Meant | None = None, *, filter: Mapping[str, Any] | None = None, dry_run: bool = False) -> Changes:
        """Holds jobs that have not started."""
        return self._change("holdJobs", of, filter, dry_run)

    def release(self, of: Meant | None = None, *, filter: Mapping[str, Any] | None = None, dry_run: bool = False) -> Changes:
        """Releases held jobs."""
        return self._change("releaseJobs", of, filter, dry_run)

    def retry(
        self, of: Meant | None = None, *, filter: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None, dry_run: bool = False,
    ) -> Changes:
        """Queues jobs once more that failed, were cancelled or got lost. With ``config`` (values to change) as new jobs."""
        return self._change("retryJobs", of, filter, dry_run, configChanges=config, resourceChanges=camel_keys(resources))

    def set_priority(
        self, of: Meant | None = None, priority: int = 100, *, filter: Mapping[str, Any] | None = None, dry_run: bool = False
    ) -> Changes:
        """Changes the priority (0 to 1000, higher goes first) of jobs that are not submitted yet."""
        return self._change("setPriority", of, filter, dry_run, priority=priority)

    def tag(
        self, of: Meant | None = None, add: Sequence[str] = (), remove: Sequence[str] = (), *,
        filter: Mapping[str, Any] | None = None, dry_run: bool = False,
    ) -> Changes:
        """Adds tags to jobs and takes tags away."""
        return self._change("tagJobs", of, filter, dry_run, add=list(add), remove=list(remove))

    def _change(self, name: str, of: Meant | None, filter: Mapping[str, Any] | None, dry_run: bool, **values: Any) -> Changes:
        if of is None and not filter:
            raise ExpgraphError("say which jobs: an experiment, a sweep, jobs, or filter=...", code="BAD_USER_INPUT")
        scope = None if of is None else self._scope(of, None)
        jobs = {"ids": scope.ids} if scope is not None and scope.kind == "jobs" and not filter else {"filter": self._filter(of, None, filter)}
        return change_jobs(self._transport, name, {**jobs, "dryRun": dry_run, **{key: value for key, value in values.items() if value is not None}})

    def _scope(self, of: Meant, project: str | None) -> Scope:
        return scope_of(self._transport, of, project)

    def _filter(self, of: Meant | None, project: str | None, conditions: Mapping[str, Any] | None) -> dict[str, Any]:
        meant = {"project": project} if of is None and project is not None else {} if of is None else self._scope(of, project).filter()
        return {**job_filter(conditions), **meant}
