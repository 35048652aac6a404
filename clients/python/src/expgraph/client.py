"""The client: experiments into a notebook, and jobs out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .arguments import EVENT_KINDS, JOB_STATES, LOG_STREAMS, choice, choices, command_line, fault, mapping, number, text, texts, truth, whole
from .errors import ExpgraphError
from .lists import Records
from .mutations import SUBMIT_JOB, SUBMIT_SWEEP, Changes, change_jobs, mutate
from .pages import pages
from .reading import Reading
from .records import EXPERIMENT_FIELDS, JOB_FIELDS, SWEEP_FIELDS, Experiment, Job, Progress, Submission, Sweep
from .scope import Meant, experiment_of, find_experiment, split_experiment
from .submitting import Values, job_input, resource_input, submission_of, sweep_input
from .transport import Transport
from .waiting import ProgressBar, read_progress, wait_until_done
from .watch import Watch
from .wording import job_filter
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


class Client(Reading):
    """Speaks to a server of expgraph. Safe to use from several threads, and inside a running event loop."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        """``url``: ``EXPGRAPH_URL``, else ``http://127.0.0.1:4000``. ``token``: ``EXPGRAPH_TOKEN``, else, for a server on this
        machine, the one in its data directory.
        """
        super().__init__(Transport(url, token))

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def graphql(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """Runs any query or mutation. Answers its ``data``; raises ``ExpgraphError`` when the answer has errors.

        Errors in the ``userErrors`` of a mutation are data, and not raised here.
        """
        return self._transport.request(query, variables)

    # What there is

    def experiments(self, project: str | None = None, *, name: str | None = None, tags: str | Sequence[str] | None = None) -> Records[Experiment]:
        """Experiments, newest first: of a project, with a part of their name, with all of these tags."""
        conditions: dict[str, Any] = {}
        if project is not None:
            conditions["project"] = text("project", project)
        if name is not None:
            conditions["nameContains"] = text("name", name)
        if tags is not None:
            conditions["tagsAll"] = texts("tags", tags, '["baseline"]')
        return Records(Experiment.of(node) for node in pages(self._transport, _EXPERIMENTS, {"filter": conditions}))

    def experiment(self, name: str, project: str | None = None) -> Experiment:
        """The experiment of that name; ``"project/name"`` or ``project=`` where several projects have one."""
        return find_experiment(self._transport, name, project)

    def sweeps(self, experiment: str | Experiment, project: str | None = None) -> Records[Sweep]:
        """The sweeps of an experiment, oldest first."""
        found = experiment_of(self._transport, experiment, project)
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
        answer = self.graphql(f"query Sweep($id: ID!) {{ sweep(id: $id) {{ {SWEEP_FIELDS} }} }}", id=text("id", id, "the id of a sweep"))["sweep"]
        if answer is None:
            raise ExpgraphError(f"there is no sweep {id}", code="NOT_FOUND")
        return Sweep.of(answer)

    def jobs(self, of: Meant | None = None, *, project: str | None = None, filter: Mapping[str, Any] | None = None) -> Records[Job]:
        """Jobs in whatever state, oldest first: of an experiment or a sweep, or of all. ``filter`` as for ``results``."""
        return Records(Job.of(node) for node in pages(self._transport, _JOBS, {"filter": self._filter(of, project, filter)}))

    def job(self, id: str) -> Job:
        """A job by its id."""
        answer = self.graphql(f"query Job($id: ID!) {{ job(id: $id) {{ {JOB_FIELDS} }} }}", id=text("id", id, "the id of a job"))["job"]
        if answer is None:
            raise ExpgraphError(f"there is no job {id}", code="NOT_FOUND")
        return Job.of(answer)

    def log(self, job: str | Job, *, lines: int = 50, stream: str = "stdout") -> str:
        """The end of a job's log, as it was last read from its cluster. ``stream``: ``stdout`` or ``stderr``; at most 10,000 lines."""
        id = job.id if isinstance(job, Job) else text("job", job, "a job or its id")
        answer = self.graphql(_LOG, id=id, lines=whole("lines", lines), stream=choice("stream", stream, LOG_STREAMS))["job"]
        if answer is None:
            raise ExpgraphError(f"there is no job {id}", code="NOT_FOUND")
        return (answer["currentAttempt"] or {}).get("logTail") or ""

    # Submitting

    def submit_job(
        self, experiment: str | Experiment, command: Sequence[str], config: Mapping[str, Any], *, project: str | None = None,
        name: str | None = None, objective: tuple[str, str] | Mapping[str, Any] | None = None, dry_run: bool = False, **options: Any,
    ) -> Submission:
        """Submits one job. ``options`` as for ``submit_sweep``, without those of the search space."""
        values = mapping("config", config, '{"optim.lr": 0.1}')
        sent = job_input({**self._submitted(experiment, project, command, name, objective, dry_run), "config": values}, options)
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
        common = self._submitted(experiment, project, command, name, objective, dry_run)
        space = {"base": base, "grid": grid, "seeds": seeds, "list": configs, "random": random, "draws": draws, "draw_seed": draw_seed, "seed_key": seed_key}
        sent = sweep_input({**common, "name": common["name"] or common["experiment"]}, space, options)
        return submission_of(mutate(self._transport, "submitSweep", SUBMIT_SWEEP, sent))

    @staticmethod
    def _submitted(
        experiment: str | Experiment, project: str | None, command: Sequence[str], name: str | None,
        objective: tuple[str, str] | Mapping[str, Any] | None, dry_run: bool,
    ) -> dict[str, Any]:
        """What every submission has."""
        return {
            **split_experiment(experiment, project), "command": command_line(command), "name": None if name is None else text("name", name),
            "objective": objective_of(objective), "dryRun": truth("dry_run", dry_run),
        }

    # Following

    def watch(
        self, of: Meant | None = None, *, project: str | None = None, kinds: str | Iterable[str] | None = None,
        to_states: str | Iterable[str] | None = None, after: str | None = None,
    ) -> Watch:
        """Events as they happen, of an experiment, a sweep, some jobs, or all; for ``for`` and for ``async for``.

        ``kinds``: such as ``["JOB_STATE_CHANGED"]``; ``to_states``: only changes of jobs into one of these. ``after``: the cursor
        of the last event that is known already (``"0"``: from the beginning); left out, what happens from now on. It reconnects
        by itself, from where it was, until ``close`` is called or the server refuses it.
        """
        conditions: dict[str, Any] = {}
        if kinds is not None:
            conditions["kinds"] = choices("kinds", kinds, EVENT_KINDS)
        if to_states is not None:
            conditions["toStates"] = choices("to_states", to_states, JOB_STATES)
        if after is not None:
            text("after", after, 'the cursor of an event, or "0" for the beginning')
        if of is not None:
            conditions.update(self._scope(of, project).event_filter())
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
        if timeout is not None:
            number("timeout", timeout)
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
        resources: Mapping[str, Any] | None = None, ignore_archived: bool | None = None, dry_run: bool = False,
    ) -> Changes:
        """Queues jobs once more that failed, were cancelled or got lost. With ``config`` (values to change) as new jobs.

        ``resources``: what to ask for instead, such as ``{"time_limit_minutes": 120}``; what is left out stays. A job whose last checkpoint
        is archived (or about to be) stays as it is and says so. With ``ignore_archived=True`` it goes on from the newest checkpoint that is
        still in its place, or begins anew.
        """
        values = None if config is None else mapping("config", config, '{"optim.lr": 0.01}')
        asked = None if resources is None else resource_input("resources", resources)
        ignored = None if ignore_archived is None else truth("ignore_archived", ignore_archived)
        return self._change("retryJobs", of, filter, dry_run, configChanges=values, resourceChanges=asked, ignoreArchived=ignored)

    def set_priority(
        self, of: Meant | None = None, priority: int = 100, *, filter: Mapping[str, Any] | None = None, dry_run: bool = False
    ) -> Changes:
        """Changes the priority (0 to 1000, higher goes first) of jobs that are not submitted yet."""
        return self._change("setPriority", of, filter, dry_run, priority=whole("priority", priority))

    def tag(
        self, of: Meant | None = None, add: str | Sequence[str] = (), remove: str | Sequence[str] = (), *,
        filter: Mapping[str, Any] | None = None, dry_run: bool = False,
    ) -> Changes:
        """Adds tags to jobs and takes tags away."""
        new, old = texts("add", add, '["baseline"]'), texts("remove", remove, '["baseline"]')
        return self._change("tagJobs", of, filter, dry_run, add=new, remove=old)

    def _change(self, name: str, of: Meant | None, filter: Mapping[str, Any] | None, dry_run: bool, **values: Any) -> Changes:
        if of is None and not filter:
            raise fault("of", "say which jobs: an experiment, a sweep, jobs, or filter=...")
        dry, conditions = truth("dry_run", dry_run), job_filter(filter)
        scope = None if of is None else self._scope(of, None)
        jobs: dict[str, Any] = {"filter": conditions}
        if scope is not None:
            jobs = {"ids": scope.ids} if scope.kind == "jobs" and not conditions else {"filter": {**conditions, **scope.filter()}}
        return change_jobs(self._transport, name, {**jobs, "dryRun": dry, **{key: value for key, value in values.items() if value is not None}})

    def _filter(self, of: Meant | None, project: str | None, conditions: Mapping[str, Any] | None) -> dict[str, Any]:
        checked = job_filter(conditions)
        if of is not None:
            return {**checked, **self._scope(of, project).filter()}
        return checked if project is None else {**checked, "project": text("project", project)}
