"""The log as it grows: an iterator, for ``for`` and for ``async for``, that survives restarts of the server."""

from __future__ import annotations

import asyncio
import random
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from .errors import ExpgraphError
from .records import Event
from .transport import EventStream, Transport, data_of

MAX_WAITING_EVENTS = 1000
"""Events that were received and not asked for yet; then the server is left to wait."""
RETRY_SECONDS_MIN = 0.25
RETRY_SECONDS_MAX = 30.0
_FINAL_CODES = ("UNAUTHENTICATED", "FORBIDDEN", "BAD_USER_INPUT", "NOT_FOUND", "CURSOR_EXPIRED", "GRAPHQL_VALIDATION_FAILED")
"""Connecting again would be answered the same."""

_WATCH = """subscription Watch($filter: JobEventFilter, $after: String) {
  event: jobEvents(filter: $filter, after: $after) {
    cursor kind at fromState toState fromAttemptState toAttemptState reason changed slurmJobId note jobCount
    series { key firstStep lastStep count } checkpoint { id path step epoch state }
    job { id name state } sweep { id } experiment { id project name }
  }
}"""


class Watch:
    """Events, each once and in order. Iterate with ``for`` or ``async for``; end it with ``close`` or by leaving ``with``.

    Lost connections are made again, with back-off, and go on after the last event that was received.
    """

    def __init__(self, transport: Transport, event_filter: Mapping[str, Any], after: str) -> None:
        """Begins at once: events wait until they are asked for."""
        self.cursor = after
        """Place of the last event that was handed out: give it as ``after`` to go on from there in another program."""
        self._receiver = _Receiver(transport, event_filter, after)
        # One that nobody holds any more ends, too. Its thread knows only the receiver.
        self._close = weakref.finalize(self, self._receiver.close)
        threading.Thread(target=self._receiver.follow, name="expgraph-watch", daemon=True).start()

    def close(self) -> None:
        """Ends it, also for whoever waits for the next event in another thread or task."""
        self._close()

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None when there was none for ``timeout`` seconds. Raises ``StopIteration`` when it was ended."""
        event = self._receiver.take(timeout)
        if event is not None:
            self.cursor = event.cursor
        elif self._receiver.ended:
            raise StopIteration
        return event

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        event = self.next()
        assert event is not None
        return event

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        while True:
            event = self._receiver.take(0)
            if event is not None:
                self.cursor = event.cursor
                return event
            if self._receiver.ended:
                raise StopAsyncIteration
            await self._receiver.change()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Receiver:
    """Receives events in a thread of its own and keeps them until they are taken."""

    def __init__(self, transport: Transport, event_filter: Mapping[str, Any], after: str) -> None:
        self._transport = transport
        self._filter = dict(event_filter)
        self._received = after
        self._events: deque[Event] = deque()
        self._change = threading.Condition()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._closed = False
        self._error: ExpgraphError | None = None
        self._stream: EventStream | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes and nothing is left."""
        with self._change:
            return self._closed and not self._events

    def take(self, timeout: float | None) -> Event | None:
        """The next event; None when there is none in time, or none will come. Raises the error that ended it, once."""
        with self._change:
            self._change.wait_for(lambda: self._events or self._closed, timeout)
            if self._events:
                event = self._events.popleft()
                self._change.notify_all()
                return event
            error, self._error = self._error, None
            if error is not None:
                raise error
            return None

    async def change(self) -> None:
        """Waits until there is an event or the end."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        with self._change:
            if self._events or self._closed:
                return
            self._waiters.append((loop, waiter))
        await waiter

    def close(self) -> None:
        self._end(None)
        with self._change:
            self._events.clear()
            stream = self._stream
        if stream is not None:
            stream.close()

    def follow(self) -> None:
        """Receives until the end."""
        retry_seconds = RETRY_SECONDS_MIN
        while not self._closed:
            before = self._received
            try:
                self._read_stream()
            except ExpgraphError as error:
                if error.code in _FINAL_CODES:
                    return self._end(error)
            retry_seconds = RETRY_SECONDS_MIN if self._received != before else min(retry_seconds * 2, RETRY_SECONDS_MAX)
            with self._change:
                # Spread out, so that not all clients of a server that starts again come at once.
                self._change.wait_for(lambda: self._closed, retry_seconds * random.uniform(0.5, 1))
        return None

    def _read_stream(self) -> None:
        stream = self._transport.subscribe(_WATCH, {"filter": self._filter, "after": self._received})
        with self._change:
            self._stream = stream
        try:
            for answer in stream:
                event = Event.of(data_of(answer)["event"])
                with self._change:
                    self._change.wait_for(lambda: self._closed or len(self._events) < MAX_WAITING_EVENTS)
                    if self._closed:
                        return
                    self._received = event.cursor
                    self._events.append(event)
                    self._announce()
        finally:
            stream.release()

    def _end(self, error: ExpgraphError | None) -> None:
        with self._change:
            if not self._closed:
                self._closed, self._error = True, error
            self._announce()

    def _announce(self) -> None:
        """Wakes everybody who waits. With the lock held."""
        self._change.notify_all()
        waiters, self._waiters = self._waiters, []
        for loop, waiter in waiters:
            try:
                loop.call_soon_threadsafe(_finish, waiter)
            except RuntimeError:
                # Its loop is closed, so nobody waits any more.
                pass


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
