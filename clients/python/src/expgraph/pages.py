"""Lists of any length, read page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .errors import ExpgraphError
from .transport import Transport

PAGE_SIZE = 500
"""The most that the server gives at once."""


def pages(transport: Transport, query: str, variables: Mapping[str, Any], size: int = PAGE_SIZE) -> Iterator[dict[str, Any]]:
    """The nodes of the field ``page`` of a query, over all its pages. A page that is too much for the server is asked for by halves."""
    after = None
    while True:
        try:
            page = transport.request(query, {**variables, "first": size, "after": after})["page"]
        except ExpgraphError as error:
            if error.code != "LIMIT_EXCEEDED" or size == 1:
                raise
            size = max(1, size // 2)
            continue
        yield from page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]
