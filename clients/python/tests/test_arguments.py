"""What cannot be right is refused before anything is sent: with the argument, what was given, and what would be right."""

import pathlib

import pytest

from expgraph import Client, ExpgraphError, LogRange, arguments

COMMAND = ["python", "train.py"]
EXPERIMENT = "vision/resnet"


@pytest.fixture
def nobody():
    """A client of an address where nobody answers: whatever is sent is another error."""
    return Client("http://127.0.0.1:1", "t")


WRONG = [
    # A text where a list is meant.
    (lambda c: c.submit_sweep(EXPERIMENT, "python train.py --fast"), "command", 'such as ["python", "train.py", "--fast"], not "python train.py --fast"'),
    (lambda c: c.submit_job(EXPERIMENT, "python 'train", {}), "command", 'such as ["python"'),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, grid={"model": "resnet"}), 'grid["model"]', 'such as ["resnet"], not "resnet"'),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, random={"model": "resnet"}, draws=1), 'random["model"]', 'such as ["resnet"], not "resnet"'),
    # Something of another type.
    (lambda c: c.submit_job(EXPERIMENT, ["python", 3], {}), "command[1]", "a text, not 3"),
    (lambda c: c.submit_job(EXPERIMENT, COMMAND, [0.1]), "config", 'a dict, such as {"optim.lr": 0.1}, not [0.1]'),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, grid={"lr": 0.1}), 'grid["lr"]', "such as [0.1], not 0.1"),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, grid=[0.1]), "grid", 'such as {"optim.lr": [0.01, 0.1]}'),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, seeds=3), "seeds", "such as range(3), not 3"),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, seeds=[0, 0.5]), "seeds[1]", "a whole number, not 0.5"),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, configs={"lr": 1}), "configs", "a list of dicts"),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, objective="val/loss"), "objective", 'such as ("val/loss", "min"), not "val/loss"'),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, priority="high"), "priority", 'a whole number, not "high"'),
    (lambda c: c.results(None), "of", "an experiment by name"),
    (lambda c: c.results([7]), "of[0]", "a job or its id, not 7"),
    (lambda c: c.results(EXPERIMENT, filter="config.optim.lr<0.1"), "filter", "a dict, such as"),
    (lambda c: c.leaderboard(EXPERIMENT, first="all"), "first", 'a whole number, not "all"'),
    (lambda c: c.leaderboard(7), "experiment", "not 7"),
    (lambda c: c.metrics(EXPERIMENT, 7), "keys", 'such as ["val/loss", "lr"], not 7'),
    (lambda c: c.job(7), "id", "the id of a job, not 7"),
    (lambda c: c.retry(EXPERIMENT, resources=2), "resources", "a dict, such as"),
    (lambda c: c.watch(after=0), "after", "the cursor of an event"),
    # Names that nobody knows.
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, list=[{"lr": 1}]), "list", 'no argument of this call (did you mean "configs"?)'),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, prioritty=1), "prioritty", 'no argument of this call (did you mean "priority"?)'),
    (lambda c: c.submit_job(EXPERIMENT, COMMAND, {}, tag_keys=["lr"]), "tag_keys", "no argument of this call"),
    (lambda c: c.submit_job(EXPERIMENT, COMMAND, {}, resources={"memory": 1}), "resources", 'has no "memory" (did you mean "memory_mib"?)'),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, priority_rules=[{"key": "lr", "less": 1}]), "priority_rules[0]", 'has no "less"'),
    (lambda c: c.results(EXPERIMENT, filter={"optim.lr": 0.1}), "filter", 'has no "optim.lr" (did you mean "config.optim.lr"?)'),
    (lambda c: c.jobs(filter={"stat": "FAILED"}), "filter", 'has no "stat" (did you mean "state"?)'),
    (lambda c: c.jobs(filter={"config.lr": {"less": 1}}), 'filter["config.lr"]', 'has no "less"'),
    (lambda c: c.results(EXPERIMENT, order_by="val/loss"), "order_by", "cannot sort by 'val/loss'"),
    # Words that are not among those that there are.
    (lambda c: c.jobs(filter={"state": "DONE"}), 'filter["state"]', 'COMPLETED, FAILED, CANCELLED, HELD, LOST, not "DONE"'),
    (lambda c: c.cancel(EXPERIMENT, filter={"states": ["RUNING"]}), 'filter["states"]', '(did you mean "RUNNING"?)'),
    (lambda c: c.watch(kinds=["FAILED"]), "kinds", "JOB_STATE_CHANGED"),
    (lambda c: c.watch(to_states="FAILD"), "to_states", '(did you mean "FAILED"?)'),
    (lambda c: c.log("0190a0c0-0000-7000-8000-000000000001", stream="err"), "stream", 'needs one of STDOUT, STDERR, not "err"'),
    (lambda c: c.submit_job(EXPERIMENT, COMMAND, {}, on_duplicate="again"), "on_duplicate", "SKIP, ERROR, RUN_AGAIN"),
    (lambda c: c.submit_job(EXPERIMENT, COMMAND, {}, retry_policy=[{"failure_class": "OOM"}]), 'retry_policy[0]["failure_class"]', "CUDA_OUT_OF_MEMORY"),
    (lambda c: c.best_checkpoint(EXPERIMENT, "val/loss", "least"), "goal", 'needs one of MIN, MAX, not "least"'),
    (lambda c: c.results(EXPERIMENT, form="excel"), "form", '"pandas", "polars", "arrow" or "table", not "excel"'),
    (lambda c: c.metrics(EXPERIMENT, attempts="first"), "attempts", '"last" or "all", not "first"'),
    # Conditions and what goes together.
    (lambda c: c.jobs(filter={"config.lr": {"lt": "0.1"}}), 'filter["config.lr"]["lt"]', 'a number, not "0.1"'),
    (lambda c: c.jobs(filter={"metrics.loss": 0.1}), 'filter["metrics.loss"]', 'such as {"lt": 0.1}'),
    (lambda c: c.jobs(filter={"finished_at": {"gte": "2026-01-01T00:00:00Z"}}), 'filter["finished_at"]', "(from, to)"),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, draws=5), "draws", "is of no use without random"),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, random={"lr": LogRange(1e-3, 1)}), "draws", "how many configurations"),
    (lambda c: c.submit_sweep(EXPERIMENT, COMMAND, seed_key="seed"), "seed_key", "is of no use without seeds"),
]


@pytest.mark.parametrize(("call", "argument", "words"), WRONG, ids=[f"{number}-{argument}" for number, (_, argument, _) in enumerate(WRONG)])
def test_an_argument_that_cannot_be_right_is_refused_before_it_is_sent(nobody, call, argument, words):
    with pytest.raises(ExpgraphError) as raised:
        call(nobody)
    error = raised.value
    assert (error.code, error.faults[0].field) == ("BAD_USER_INPUT", argument)
    assert str(error).startswith(f"{argument}: ") and words in str(error)


def test_a_single_text_counts_as_a_list_of_it_where_nothing_else_can_be_meant():
    from expgraph.submitting import sweep_input
    from expgraph.wording import job_filter

    space = dict.fromkeys(["base", "grid", "seeds", "list", "random", "draws", "draw_seed", "seed_key"])
    sent = sweep_input({}, space, {"tags": "a", "tag_keys": "optim.lr", "working_directory": pathlib.PurePosixPath("/w"), "resources": {"memory_mib": 1}})
    assert sent == {"space": {}, "tags": ["a"], "tagKeys": ["optim.lr"], "workingDirectory": "/w", "resources": {"memoryMiB": 1}}
    assert job_filter({"state": "failed", "tags": "a", "ids": "x"}) == {"states": ["FAILED"], "tagsAll": ["a"], "ids": ["x"]}


def test_hints_are_told_in_the_words_of_the_client():
    from expgraph.wording import in_python

    assert in_python("archived: restore it first, or retry it with ignoreArchived: true") == "archived: restore it first, or retry it with ignore_archived=True"
    assert in_python('held; releaseJobs(ids: ["7"]) lets it start') == 'held; client.release("7") lets it start'


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("JobState", arguments.JOB_STATES), ("EventKind", arguments.EVENT_KINDS), ("FailureClass", arguments.FAILURE_CLASSES), ("Goal", arguments.GOALS),
        ("LogStream", arguments.LOG_STREAMS), ("OnDuplicate", arguments.ON_DUPLICATE), ("SummaryPoint", arguments.SUMMARY_POINTS),
    ],
)
def test_the_words_that_are_taken_are_those_of_the_server(client, name, words):
    answer = client.graphql("query Words($name: String!) { __type(name: $name) { enumValues { name } } }", name=name)
    assert {each["name"] for each in answer["__type"]["enumValues"]} == set(words)


@pytest.mark.parametrize(
    ("name", "left_to_arguments"),
    [("SubmitJobInput", {"experiment", "project", "command", "config", "name", "objective", "dryRun"}),
     ("SubmitSweepInput", {"experiment", "project", "command", "space", "name", "objective", "dryRun"}),
     ("ResourcesInput", set()), ("PriorityRuleInput", set()), ("RetryRuleInput", set()), ("JobFilter", set())],
)
def test_the_names_that_are_taken_are_those_of_the_server(client, name, left_to_arguments):
    from expgraph import submitting, wording

    taken = {
        "SubmitJobInput": submitting._JOB_OPTIONS, "SubmitSweepInput": submitting._SWEEP_OPTIONS, "ResourcesInput": submitting._RESOURCES,
        "PriorityRuleInput": submitting._PRIORITY_RULE, "RetryRuleInput": submitting._RETRY_RULE,
        "JobFilter": ["states", *wording._TIME_RANGES, *wording._TEXT_LISTS, *wording._TEXTS, *wording._NUMBERS, *wording._CONDITIONS],
    }[name]
    answer = client.graphql("query Names($name: String!) { __type(name: $name) { inputFields { name } } }", name=name)
    assert {each["name"] for each in answer["__type"]["inputFields"]} == {arguments.camel(each) for each in taken} | left_to_arguments
