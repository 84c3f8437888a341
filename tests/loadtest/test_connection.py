from __future__ import annotations

import json
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.loadtest import connection as connection_module
from keystile.loadtest.connection import (
    BROKEN,
    CUT,
    LATE,
    NO_CONNECTION,
    Answer,
    Connection,
    Unanswered,
    context_of,
    request,
)
from keystile.loadtest.plan import Target
from keystile.relay.refusal import Refusal
from tests.loadtest.running import scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = request("GET", "/a", "localhost", "X-Api-Key", "K" * 96)


def problem(status: int, slug: str, kind: str = "application/problem+json") -> bytes:
    body = json.dumps({"type": f"urn:keystile:problem:{slug}"}).encode()
    return b"HTTP/1.1 %d No\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        kind.encode(),
        len(body),
        body,
    )


def outcome(data: bytes) -> str:
    answer = Answer()
    answer.feed(data)
    assert answer.whole
    return answer.outcome()


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_refusal_of_the_gateway_is_known_by_its_problem_type(refusal: Refusal) -> None:
    assert outcome(problem(refusal.status, refusal.slug)) == refusal.slug


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OK, "answered"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "answered"),
        (problem(404, "not-found", "application/json"), "answered"),
        (b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", "status-502"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "answered"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "answered"),
        (b"HTTP/1.1 403 No\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n[]", "answered"),
        (b"HTTP/1.1 503 No\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{}", "status-503"),
    ],
)
def test_what_the_api_says_itself_is_an_answer_unless_it_failed(data: bytes, expected: str) -> None:
    assert outcome(data) == expected


@given(st.binary(max_size=200))
def test_no_bytes_make_anything_but_an_answer_or_a_fault(data: bytes) -> None:
    with suppress(Unanswered):
        Answer().feed(data)


def test_one_connection_serves_many_calls_from_the_address_of_choice() -> None:
    with scripted(OK, problem(403, "scope-missing"), OK) as server:
        connection = Connection(server.target, "127.1.2.3", 30)
        found = [connection.call(GET) for _ in range(3)]
        connection.close()
    assert found == ["answered", "scope-missing", "answered"]
    assert server.callers == ["127.1.2.3"]
    assert server.received == [GET] * 3


def test_a_connection_that_ends_after_an_answer_is_made_anew() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    with scripted(closing, OK) as server:
        connection = Connection(server.target, "", 30)
        assert [connection.call(GET) for _ in range(2)] == ["answered", "answered"]
        connection.close()
    assert len(server.callers) == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(None, CUT), (b"nonsense\r\n\r\n", BROKEN), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", LATE)],
)
def test_what_is_no_whole_answer_is_told_apart_and_the_next_call_begins_anew(
    answer: bytes | None, expected: str
) -> None:
    with scripted(answer, OK) as server:
        connection = Connection(server.target, "", 0.2)
        assert connection.call(GET) == expected
        assert connection.call(GET) in ("answered", NO_CONNECTION, LATE)
        connection.close()


def test_a_connection_that_was_closed_while_idle_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_IDLE", -1.0)
    with scripted(OK, None, OK) as server:
        connection = Connection(server.target, "", 30)
        assert connection.call(GET) == "answered"
        for each in server.connections:
            each.shutdown(socket.SHUT_WR)
        assert connection.call(GET) == CUT  # the script closes the next one
        assert connection.call(GET) == "answered"
        connection.close()
    assert len(server.callers) == 3


def test_nobody_there_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert Connection(Target("127.0.0.1", port, "localhost"), "", 30).call(GET) == NO_CONNECTION


def test_a_request_drips_in_pieces_and_arrives_whole() -> None:
    long = request("POST", "/up", "localhost", "X-Api-Key", "K" * 96, b"x" * 5000)
    waited: list[float] = []
    with scripted(OK) as server:
        connection = Connection(server.target, "", 30)
        assert connection.drip(long, 20, waited.append, 0.1) == "answered"
        connection.close()
    assert server.received == [long]
    assert waited == [0.1] * 20


def test_an_answer_is_sipped_to_its_end() -> None:
    waited: list[float] = []
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    with scripted(large, OK) as server:
        connection = Connection(server.target, "", 30)
        assert connection.sip(GET, waited.append, 0.1) == "answered"
        assert connection.call(GET) == "answered"
        connection.close()
    assert len(waited) >= 100_000 / 4096


def test_a_request_carries_its_key_where_it_belongs_and_no_key_where_there_is_none() -> None:
    assert b"\r\nX-Api-Key: secret\r\n" in request("GET", "/a", "h", "X-Api-Key", "secret")
    assert b"\r\nAuthorization: Bearer secret\r\n" in request("GET", "/a", "h", "Authorization", "secret")
    assert b"Api-Key" not in request("GET", "/a", "h", "X-Api-Key", "")
    assert b"Content-Length: 0\r\n" in request("PUT", "/a", "h", "X-Api-Key", "")


def test_tls_verifies_who_answers() -> None:
    context = context_of(Target("127.0.0.1", 443, "localhost", tls=True))
    assert context is not None
    assert context.check_hostname
    assert context_of(Target("127.0.0.1", 80, "localhost")) is None
