"""The server's exports: whole tables as a stream, gone on with after a lost connection."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .errors import ExpgraphError
from .pages import pages
from .scope import Scope
from .transport import Transport, to_json

JOBS_IN_AN_ADDRESS = 100
MAX_ADDRESS_CHARACTERS = 6_000
"""A server takes no address that is much longer; then the jobs are named one by one, or the metrics are asked for in several parts."""
MAX_FAILURES = 6
"""So often in a row, without anything that came, a connection may break."""
FIRST_RETRY_SECONDS = 0.25
BLOCK_BYTES = 1 << 20
_PLACES = """query Places($filter: JobFilter, $first: Int, $after: String) {
  page: jobs(filter: $filter, first: $first, after: $after) { nodes { id experiment { id } } pageInfo { endCursor hasNextPage } }
}"""

Parameters = list[tuple[str, str]]
Read = Callable[[Any], Iterator[tuple[Any, str]]]
"""What came of an export, piece by piece, each with its last row as JSON."""


def places(transport: Transport, scope: Scope, conditions: Mapping[str, Any], table: str) -> list[tuple[str, Parameters]]:
    """The addresses of the exports that hold a table of what is meant."""
    named = [("filter", json.dumps(conditions, default=to_json))] if conditions else []
    if len(scope.ids) == 1 and len(urllib.parse.urlencode(named)) <= MAX_ADDRESS_CHARACTERS:
        return [(f"export/{'job' if scope.kind == 'jobs' else scope.kind}/{scope.ids[0]}/{table}", named)]
    experiments: dict[str, list[str]] = {}
    for job in pages(transport, _PLACES, {"filter": {**conditions, **scope.filter()}}):
        experiments.setdefault(job["experiment"]["id"], []).append(job["id"])
    return [
        (f"export/experiment/{experiment}/{table}", [("filter", json.dumps({"ids": ids[start:start + JOBS_IN_AN_ADDRESS]}))])
        for experiment, ids in experiments.items() for start in range(0, len(ids), JOBS_IN_AN_ADDRESS)
    ]


def json_rows(response: Any) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Reads JSON lines, many at a time."""
    rest = b""
    while block := response.read(BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield [json.loads(line) for line in lines], lines[-1].decode()


def pieces(transport: Transport, path: str, parameters: Parameters, read: Read) -> Iterator[Any]:
    """All pieces; after a lost connection it goes on behind the last row that came."""
    after: str | None = None
    failures = 0
    while True:
        try:
            with transport.download(path, parameters if after is None else [*parameters, ("after", after)]) as response:
                for piece, last in read(response):
                    after, failures = last, 0
                    yield piece
                return
        except ExpgraphError as error:
            if after is None or error.code not in ("UNREACHABLE", "DATABASE_UNAVAILABLE"):
                raise
            problem: Exception = error
        # pyarrow's words for a stream that ends too soon are a ValueError.
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = transport.unreachable(error)
        failures += 1
        if failures > MAX_FAILURES:
            raise problem
        time.sleep(FIRST_RETRY_SECONDS * 2 ** (failures - 1))
