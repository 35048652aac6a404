"""What a user's type checker sees of the client: this file is checked in strict mode against the installed package, and never run.

The comments that ignore an error are part of it: where nothing is wrong because a type is unknown, they are errors themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import expgraph
from expgraph import Checkpoint, Client, Event, Experiment, ExpgraphError, Form, Job, LogRange, Progress, Records, Submission, Sweep, Table

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from typing_extensions import assert_type


def train(loss: float) -> None:
    assert_type(expgraph.config({"lr": 0.1})["lr"] is None, bool)
    expgraph.log({"loss": loss, "nested": {"norm": 1}}, step=1, phase="train")
    expgraph.log({"loss": loss}, step="1")  # type: ignore[arg-type]
    expgraph.checkpoint("a.pt", step=1, metrics={"loss": loss}, aliases=["best"])
    assert_type(expgraph.flush(timeout=1), bool)
    this = expgraph.this_job()
    if this is not None:
        assert_type(this.resume_checkpoint, Optional[str])


def tables(client: Client, form: Form | None) -> None:
    assert_type(client.results("e", filter={"config.lr": 0.1}, order_by="-metrics.loss"), pandas.DataFrame)
    assert_type(client.results("e", form="pandas"), pandas.DataFrame)
    assert_type(client.metrics("e", ["loss"], form="polars"), polars.DataFrame)
    assert_type(client.metrics("e", "loss", max_points=10, form="arrow"), pyarrow.Table)
    assert_type(client.leaderboard("e", group_by=["lr"], form="table"), Table)
    assert_type(client.leaderboard("e", group_by="lr", states="FAILED", form="table"), Table)
    assert_type(client.results("e", form="table")[:3], Table)
    print(client.results("e", form=form).no_such_thing)  # type: ignore[union-attr]
    client.results("e", form="csv")  # type: ignore[call-overload]
    client.metrics("e", max_points="many")  # type: ignore[call-overload]


def records(client: Client) -> None:
    assert_type(client.experiments(), Records[Experiment])
    assert_type(client.sweeps("e")[0], Sweep)
    assert_type(client.jobs("e", filter={"state": ["FAILED"]})[0], Job)
    assert_type(client.jobs("e").to_pandas(), pandas.DataFrame)
    best = client.best_checkpoint("e", "val/loss", "min")
    assert_type(best, Checkpoint)
    assert_type(client.job("id").why, Optional[str])
    assert_type(best.step, Optional[int])
    assert_type(best.metrics, "dict[str, float | None]")
    client.job(7)  # type: ignore[arg-type]


def actions(client: Client) -> None:
    submission = client.submit_sweep("e", ["python", "train.py"], random={"lr": LogRange(1e-4, 1e-1)}, draws=3, objective=("loss", "min"))
    assert_type(submission, Submission)
    assert_type(client.wait(submission, timeout=60), Progress)
    with client.watch("e", to_states=["FAILED"]) as events:
        for event in events:
            assert_type(event, Event)
    try:
        client.cancel(submission, dry_run=True)
    except ExpgraphError as error:
        assert_type((error.code, error.faults[0].field), "tuple[str, str]")


async def follow(client: Client) -> None:
    async for event in client.watch():
        assert_type(event.job_id, Optional[str])
