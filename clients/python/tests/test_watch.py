"""Events arrive each once and in order, through lost connections, in loops of both kinds, and end when asked."""

import asyncio
import gc
import threading
import time

import pytest
from conftest import PROJECT

from expgraph import Client, ExpgraphError


def states_of(watch, job_ids):
    """The states of each job in the order in which they came, until all jobs have ended."""
    states = {job_id: [] for job_id in job_ids}
    for event in watch:
        states[event.job_id].append(event.to_state)
        if all(each and each[-1] == "COMPLETED" for each in states.values()):
            return states
    raise AssertionError("the events ended")


def test_the_whole_story_of_a_sweep_can_be_read_from_the_beginning(client, sweep):
    with client.watch(sweep, kinds=["job_state_changed"], after="0") as watch:
        story = states_of(watch, [job.id for job in client.jobs(sweep)])
    for states in story.values():
        assert states[0] == "QUEUED" and states[-1] == "COMPLETED"
        assert len(states) == len(set(states))


def test_events_arrive_once_each_though_the_connection_is_lost_again_and_again(client, proxy):
    through = Client(proxy.url, client._transport._token)
    with through.watch(kinds=["NOTE", "JOB_STATE_CHANGED"]) as watch:
        submission = client.submit_sweep(f"{PROJECT}/cuts", ["python3", "-c", "import time; time.sleep(0.3)"], grid={"x": list(range(6))})
        ids = set(submission.job_ids)
        seen = []
        deadline = time.monotonic() + 120
        done = set()
        while done != ids and time.monotonic() < deadline:
            event = watch.next(10)
            if event is None or event.job_id not in ids:
                continue
            seen.append(event.cursor)
            if event.to_state == "COMPLETED":
                done.add(event.job_id)
            if len(seen) % 4 == 0:
                proxy.cut()
    assert done == ids
    assert seen == sorted(set(seen), key=int)
    with client.watch(submission, kinds=["NOTE", "JOB_STATE_CHANGED"], after="0") as whole:
        assert seen == [whole.next(10).cursor for _ in seen]
    assert proxy.connections > 2


def test_it_waits_for_a_server_that_is_away(client, proxy):
    through = Client(proxy.url, client._transport._token)
    with through.watch(to_states=["COMPLETED"]) as watch:
        # One for the question where the log ends, and the stream.
        proxy.wait_for_connections(2)
        proxy.refuse(True)
        proxy.cut()
        submission = client.submit_job(f"{PROJECT}/away", ["true"], {})
        client.wait(submission, timeout=60, progress=False)
        assert watch.next(0.1) is None
        proxy.refuse(False)
        assert watch.next(60).job_id == submission.job_ids[0]


def test_async_for_works_in_a_running_loop_beside_other_tasks(client):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        async with client.watch(to_states=["COMPLETED", "FAILED"]) as watch:
            # As a notebook does: the calls are synchronous, the loop is running.
            submission = client.submit_job(f"{PROJECT}/async", ["sleep", "0.5"], {})
            async for event in watch:
                if event.job_id in submission.job_ids:
                    break
        ticking.cancel()
        return event.to_state, ticks

    state, ticks = asyncio.run(asyncio.wait_for(main(), 60))
    assert state == "COMPLETED"
    assert ticks > 10


def test_a_cancelled_task_loses_no_event(client):
    async def main():
        with client.watch(kinds=["JOB_STATE_CHANGED"]) as watch:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(watch.__anext__(), 0.2)
            submission = client.submit_job(f"{PROJECT}/cancelled", ["true"], {})
            async for event in watch:
                if event.job_id in submission.job_ids:
                    return event.to_state
        raise AssertionError("the events ended")

    assert asyncio.run(asyncio.wait_for(main(), 60)) == "QUEUED"


def test_close_ends_whoever_waits_in_another_thread(client):
    watch = client.watch(to_states=["LOST"])
    ended = threading.Event()

    def wait():
        for _ in watch:
            pass
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    watch.close()
    assert ended.wait(10)
    assert list(watch) == []


def test_a_watch_that_nobody_holds_gives_its_connection_back(client):
    def watchers():
        return [thread for thread in threading.enumerate() if thread.name == "expgraph-watch"]

    before = len(watchers())
    watch = client.watch(after="0")
    for _ in watch:
        break
    del watch
    gc.collect()
    deadline = time.monotonic() + 10
    while len(watchers()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(watchers()) == before


def test_a_cursor_that_is_none_is_an_error_and_no_silence(client):
    with client.watch(after="nonsense") as watch, pytest.raises(ExpgraphError) as raised:
        next(watch)
    assert raised.value.code == "BAD_USER_INPUT"


def test_what_came_before_the_cursor_is_not_told_again(client, sweep):
    with client.watch(sweep, after="0") as watch:
        cursors = [next(watch).cursor for _ in range(5)]
        assert watch.cursor == cursors[-1]
    with client.watch(sweep, after=cursors[2]) as watch:
        assert [next(watch).cursor, next(watch).cursor] == cursors[3:]


def test_many_waiting_events_do_not_fill_the_memory(client, sweep, monkeypatch):
    from expgraph import watch as module

    monkeypatch.setattr(module, "MAX_WAITING_EVENTS", 3)
    with client.watch(sweep, after="0", kinds=["JOB_STATE_CHANGED"]) as watch:
        first = next(watch)
        time.sleep(0.3)
        assert len(watch._receiver._events) <= 3
        rest = [next(watch) for _ in range(10)]
    assert [event.cursor for event in [first, *rest]] == sorted({event.cursor for event in [first, *rest]}, key=int)
