"""GraphQL over HTTP, and subscriptions over server-sent events, with the standard library."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from .errors import ExpgraphError, Fault

DEFAULT_URL = "http://127.0.0.1:4000/graphql"
REQUEST_TIMEOUT_SECONDS = 120.0
BUSY_SECONDS = 120.0
"""For so long a server is asked again that says it is busy."""
STREAM_SILENCE_SECONDS = 60.0
"""The server says something every 12 seconds on a stream; one that is silent for so long is dead."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along to wherever it leads."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _retry_after_seconds(value: str | None) -> float | None:
    """What a Retry-After says (RFC 9110, 10.2.3: seconds, or a date, as some proxies send it); None where it says nothing that can be read."""
    if value is None or value.isdecimal():
        return None if value is None else float(value)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, at.timestamp() - time.time())


class Transport:
    """Where the server is and who we are."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.url = _graphql_url(url or os.environ.get("EXPGRAPH_URL") or DEFAULT_URL)
        parts = urllib.parse.urlsplit(self.url)
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        self._token, self._token_source = _token(token, self.url, local)
        # A proxy of the environment is of no use for this machine, and would only be in the way.
        proxies = urllib.request.ProxyHandler({} if local else None)
        self._opener = urllib.request.build_opener(proxies, _NoRedirects())

    def request(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Runs a query or a mutation. Answers its data; raises ``ExpgraphError`` for any error in the answer."""
        with self._open(query, variables, "application/json", REQUEST_TIMEOUT_SECONDS) as response:
            try:
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                raise self.unreachable(error) from error
            except ValueError as error:
                raise self._no_answer("its answer is not JSON") from error
        return data_of(answer)

    def subscribe(self, query: str, variables: Mapping[str, Any]) -> EventStream:
        """Opens the stream of a subscription."""
        return EventStream(self._open(query, variables, "text/event-stream", STREAM_SILENCE_SECONDS), self)

    def download(self, path: str, parameters: Sequence[tuple[str, str]]) -> Any:
        """Begins to read what is not GraphQL, at an address beside that of GraphQL. Waits for its turn where the server is busy with others."""
        url = urllib.parse.urljoin(self.url, path) + (f"?{urllib.parse.urlencode(parameters)}" if parameters else "")
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._token}"})
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self._opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS)
            except urllib.error.HTTPError as error:
                with error:
                    wait = _retry_after_seconds(error.headers.get("Retry-After"))
                    if wait is None or time.monotonic() + wait > deadline:
                        raise self._refusal(error.code, error.read()) from None
                time.sleep(wait)
            except (OSError, http.client.HTTPException) as error:
                raise self.unreachable(error) from error

    def _open(self, query: str, variables: Mapping[str, Any], accept: str, timeout: float) -> Any:
        body = json.dumps({"query": query, "variables": variables}, default=to_json, allow_nan=True)
        if "NaN" in body or "Infinity" in body:
            _refuse_non_finite(variables)
        headers = {"Content-Type": "application/json", "Accept": accept, "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self.url, body.encode(), headers, method="POST")
        try:
            return self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read()) from None
        except (OSError, http.client.HTTPException) as error:
            raise self.unreachable(error) from error

    def _refusal(self, status: int, body: bytes) -> ExpgraphError:
        try:
            error = error_of(json.loads(body)["errors"])
        except (ValueError, LookupError, TypeError):
            return self._no_answer(f"HTTP status {status}")
        if error.code != "UNAUTHENTICATED":
            return error
        problem = f"the server at {self.url} does not know the token of {self._token_source}, or it was revoked"
        return ExpgraphError(f"{problem}: give a valid one as token=..., or set EXPGRAPH_TOKEN", code=error.code)

    def _no_answer(self, problem: str) -> ExpgraphError:
        return ExpgraphError(f"what answers at {self.url} is not expgraph ({problem})", code="BAD_ANSWER")

    def unreachable(self, error: Exception) -> ExpgraphError:
        """The error that says that no answer came, or not all of it."""
        reason = getattr(error, "reason", None) or error
        return ExpgraphError(
            f"no answer from {self.url}: {reason}. Is the server running (npm start), and is this its address (EXPGRAPH_URL)?",
            code="UNREACHABLE",
        )


class EventStream:
    """The results of one subscription. Iterating ends when the server completes it, and raises when the connection breaks."""

    def __init__(self, response: IO[bytes], transport: Transport) -> None:
        self._response = response
        self._transport = transport

    def __iter__(self) -> Iterator[dict[str, Any]]:
        event, data = "", ""
        try:
            for raw in self._response:
                line = raw.decode("utf-8").rstrip("\r\n")
                if line.startswith("event:"):
                    event = line[6:].strip()
                elif line.startswith("data:"):
                    data += line[5:].strip()
                elif line == "":
                    if event == "complete":
                        return
                    if event == "next":
                        yield json.loads(data)
                    event, data = "", ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._transport.unreachable(error) from error
        raise self._transport.unreachable(ConnectionError("the connection ended"))

    def release(self) -> None:
        """Gives the connection back, from the thread that reads it."""
        self._response.close()

    def close(self) -> None:
        """Ends the stream, also while another thread waits for its next result."""
        # A close alone does not wake a thread that waits in a read.
        connection = getattr(getattr(self._response, "fp", None), "raw", None)
        sock = getattr(connection, "_sock", None)
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The other side was faster.
                pass


def data_of(answer: Any) -> dict[str, Any]:
    """The data of a GraphQL answer. Raises ``ExpgraphError`` when it has errors."""
    if not isinstance(answer, dict) or not (isinstance(answer.get("data"), dict) or answer.get("errors")):
        raise ExpgraphError("the answer is not one of GraphQL", code="BAD_ANSWER")
    if answer.get("errors"):
        raise error_of(answer["errors"])
    data: dict[str, Any] = answer["data"]
    return data


def error_of(errors: list[dict[str, Any]]) -> ExpgraphError:
    """The first of GraphQL's errors, with its code."""
    first = errors[0]
    extensions = first.get("extensions") or {}
    code = extensions.get("code", "INTERNAL_SERVER_ERROR")
    faults = [Fault(".".join(fault.get("field", [])), fault["message"], fault["code"]) for fault in extensions.get("faults") or []]
    return ExpgraphError(first["message"], code=code, faults=faults)


def _graphql_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ExpgraphError(f"{url!r} is not the address of a server; one looks like {DEFAULT_URL}", code="BAD_USER_INPUT")
    path = parts.path if parts.path.strip("/") else "/graphql"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _token(given: str | None, url: str, local: bool) -> tuple[str, str]:
    """The token, and what it comes from, in words."""
    of_environment = os.environ.get("EXPGRAPH_TOKEN")
    if given or of_environment:
        return (given, "the argument token") if given else (of_environment or "", "EXPGRAPH_TOKEN")
    return _token_of_file(url, local), f"{_data_directory() / 'token'}"


def _token_of_file(url: str, local: bool) -> str:
    """The first token of a server on this machine. It is not sent to any other."""
    if not local:
        raise ExpgraphError(f"a token is needed for {url}: give token=..., or set EXPGRAPH_TOKEN", code="UNAUTHENTICATED")
    path = _data_directory() / "token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ExpgraphError(
            f"a token is needed: give token=..., set EXPGRAPH_TOKEN, or start the server on this machine, which keeps one in {path} "
            f"({error.strerror})",
            code="UNAUTHENTICATED",
        ) from None


def _data_directory() -> Path:
    """Where the server keeps its data, as it decides itself."""
    given = os.environ.get("EXPGRAPH_DATA_DIR")
    if given:
        return Path(given)
    if sys.platform != "win32" and os.getuid() == 0:
        return Path("/var/lib/expgraph")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "expgraph"


def to_json(value: Any) -> Any:
    """numpy arrays and scalars, tensors, paths, moments and sets, as JSON has them."""
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone()).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, range):
        return list(value)
    raise ExpgraphError(f"{value!r} cannot be sent: it is {type(value).__name__}, not a JSON value", code="BAD_USER_INPUT")


def _refuse_non_finite(variables: Mapping[str, Any]) -> None:
    try:
        json.dumps(variables, default=to_json, allow_nan=False)
    except ValueError:
        message = "NaN and infinities cannot be sent: JSON has no number for them; use None or a text"
        raise ExpgraphError(message, code="BAD_USER_INPUT") from None
