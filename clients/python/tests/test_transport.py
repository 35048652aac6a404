"""Where the client finds its server and its token, and what it says when there is none."""

import http.server
import json
import math
import pickle
import threading
from datetime import datetime, timezone

import pytest

import expgraph
from expgraph import Client, ExpgraphError, Fault, SampledWarning


@pytest.fixture
def other_server():
    """A server that is not expgraph; ``answers`` is what it says (a list: one after the other), ``seen`` the headers it got."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            server.seen.append(dict(self.headers))
            status, headers, body = server.answers.pop(0) if isinstance(server.answers, list) else server.answers
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_settings(monkeypatch, tmp_path):
    for name in ("EXPGRAPH_URL", "EXPGRAPH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EXPGRAPH_DATA_DIR", str(tmp_path))
    return tmp_path


def test_the_token_of_a_server_on_this_machine_is_found(no_settings, other_server):
    (no_settings / "token").write_text("eg_secret\n")
    other_server.answers = (200, {}, b'{"data": {"ok": 1}}')
    assert Client(other_server.url).graphql("{ ok }") == {"ok": 1}
    assert other_server.seen[0]["Authorization"] == "Bearer eg_secret"


def test_without_a_token_it_says_where_one_comes_from(no_settings):
    with pytest.raises(ExpgraphError, match="EXPGRAPH_TOKEN") as raised:
        Client()
    assert raised.value.code == "UNAUTHENTICATED"
    assert str(no_settings / "token") in str(raised.value)


def test_the_local_token_is_not_sent_to_another_machine(no_settings):
    (no_settings / "token").write_text("eg_secret\n")
    with pytest.raises(ExpgraphError, match=r"a token is needed for http://tracker\.example\.org/graphql"):
        Client("http://tracker.example.org")


def test_the_token_is_in_no_text_of_the_client(no_settings):
    assert "eg_secret" not in repr(Client("http://127.0.0.1:1", "eg_secret"))


def test_an_address_without_a_server_is_named(no_settings):
    with pytest.raises(ExpgraphError, match=r"no answer from http://127\.0\.0\.1:1/graphql: .*refused") as raised:
        Client("http://127.0.0.1:1", "t").graphql("{ viewer { tokenName } }")
    assert raised.value.code == "UNREACHABLE"


@pytest.mark.parametrize("url", ["ftp://host", "http://"])
def test_what_is_no_address_is_refused(no_settings, url):
    with pytest.raises(ExpgraphError, match="is not the address of a server"):
        Client(url, "t")


@pytest.mark.parametrize("answer", [(200, {}, b"<html>"), (200, {}, b"[]"), (502, {}, b"bad gateway"), (404, {}, b'{"error": "x"}')])
def test_something_else_at_the_address_is_recognised(no_settings, other_server, answer):
    other_server.answers = answer
    with pytest.raises(ExpgraphError) as raised:
        Client(other_server.url, "t").graphql("{ ok }")
    assert raised.value.code == "BAD_ANSWER"


def test_a_redirect_does_not_take_the_token_along(no_settings, other_server):
    other_server.answers = (302, {"Location": f"{other_server.url}/elsewhere"}, b"")
    with pytest.raises(ExpgraphError):
        Client(other_server.url, "t").graphql("{ ok }")
    assert len(other_server.seen) == 1


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(no_settings, other_server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    other_server.answers = (200, {}, b'{"data": {"ok": 1}}')
    assert Client(other_server.url, "t").graphql("{ ok }") == {"ok": 1}


def test_a_wrong_token_is_refused_with_the_code_of_the_server(client):
    with pytest.raises(ExpgraphError, match="the argument token, or it was revoked: give a valid one as token=") as raised:
        Client(client._transport.url, "eg_wrong").experiments()
    assert raised.value.code == "UNAUTHENTICATED"


def test_a_token_that_is_refused_is_told_by_where_it_comes_from(client, no_settings, monkeypatch):
    (no_settings / "token").write_text("eg_old")
    with pytest.raises(ExpgraphError, match=f"the token of {no_settings / 'token'}, or it was revoked"):
        Client(client._transport.url).experiments()
    monkeypatch.setenv("EXPGRAPH_TOKEN", "eg_wrong")
    with pytest.raises(ExpgraphError, match="the token of EXPGRAPH_TOKEN, or it was revoked"):
        Client(client._transport.url).experiments()


JOB_ID = "0190a0c0-0000-7000-8000-000000000001"
FOUND = (200, {}, json.dumps({"data": {"job": {"id": JOB_ID}, "sweep": None, "experiments": {"nodes": []}}}).encode())
POINT = {"job_id": JOB_ID, "key": "loss", "step": 7, "time": "2026-03-01T12:00:00.000Z", "value": "-Infinity", "attempt": 1}
POINTS = (200, {}, json.dumps(POINT).encode() + b"\n")


def test_a_server_that_is_busy_is_asked_again(no_settings, other_server):
    other_server.answers = [FOUND, (503, {"Retry-After": "0"}, b""), (503, {"Retry-After": "0"}, b""), POINTS]
    table = Client(other_server.url, "t").metrics(JOB_ID, form="table")
    assert list(table) == [{"job_id": JOB_ID, "key": "loss", "step": 7, "time": datetime(2026, 3, 1, 12, tzinfo=timezone.utc), "value": -math.inf}]
    assert table.attributes == {"sampled": False}


@pytest.mark.parametrize("retry_after", ["Wed, 21 Oct 2015 07:28:00 GMT", "0"])
def test_a_proxy_may_say_when_to_ask_again_as_a_date(no_settings, other_server, retry_after):
    other_server.answers = [FOUND, (503, {"Retry-After": retry_after}, b""), POINTS]
    assert len(Client(other_server.url, "t").metrics(JOB_ID, form="table")) == 1


@pytest.mark.parametrize("retry_after", ["86400", "Wed, 21 Oct 2099 07:28:00 GMT", "soon"])
def test_a_wait_that_is_too_long_or_cannot_be_read_is_told_at_once(no_settings, other_server, retry_after):
    other_server.answers = [FOUND, (503, {"Retry-After": retry_after}, b"")]
    with pytest.raises(ExpgraphError, match="503"):
        Client(other_server.url, "t").metrics(JOB_ID, form="table")


def test_a_history_of_which_only_a_sample_is_left_comes_with_a_warning(no_settings, other_server):
    refusal = {"errors": [{"message": "only a roll-up is left", "extensions": {"code": "CONFLICT"}}]}
    other_server.answers = [FOUND, (409, {}, json.dumps(refusal).encode()), POINTS]
    with pytest.warns(SampledWarning, match="only a roll-up is left"):
        table = Client(other_server.url, "t").metrics(JOB_ID, form="table")
    assert (len(table), table.attributes) == (1, {"sampled": True})


def test_an_export_that_is_refused_tells_the_code_of_the_server(client):
    with pytest.raises(ExpgraphError) as raised:
        Client(client._transport.url, "eg_wrong")._transport.download(f"export/job/{JOB_ID}/metrics.csv", [])
    assert raised.value.code == "UNAUTHENTICATED"
    with pytest.raises(ExpgraphError, match="there is no job") as raised:
        client._transport.download(f"export/job/{JOB_ID}/metrics.csv", [])
    assert raised.value.code == "NOT_FOUND"


def test_errors_survive_the_way_out_of_a_process_pool():
    error = ExpgraphError("no", code="BAD_USER_INPUT", faults=[Fault("resources.gpus", "too many", "BAD_USER_INPUT")])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code, again.faults) == (ExpgraphError, str(error), error.code, error.faults)


def test_what_the_package_has_is_there_to_be_found():
    assert set(expgraph.__all__) <= set(dir(expgraph))
    assert {getattr(expgraph, name) is None for name in expgraph.__all__} == {False}
    assert expgraph.__version__.count(".") == 2
