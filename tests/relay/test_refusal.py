"""Every way the gateway says no, provoked by a real request."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pytest

from keystile.config.model import Needs, Operation, ServerQueue
from keystile.keys import secret as secrets
from keystile.relay.refusal import REASONS, RETRY_AFTER, Refusal, of_fault
from keystile.wire.faults import Fault
from tests.relay.running import OPERATIONS, Answer, Running, odd_servers, request, running, until, with_upstreams
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

Request = Callable[[Running], bytes]
Prepare = Callable[[Running], None]


def ask(path: str = "/v4/contacts", *lines: bytes, scopes: Iterable[str] = ("ViewContacts",), **how: Any) -> Request:
    """A request with a good key of these scopes."""
    return lambda relay: request(path, *lines, key=relay.key(*scopes), **how)


def keyless(path: str = "/v4/contacts", *lines: bytes, **how: Any) -> Request:
    return lambda relay: request(path, *lines, **how)


def twice(relay: Running) -> bytes:
    return request("/v4/contacts", b"X-Api-Key: " + relay.key("ViewContacts"), key=relay.secrets[0])


def from_elsewhere(relay: Running) -> bytes:
    return request(key=relay.key("ViewContacts", networks=["10.0.0.0/8"]))


def crowd(relay: Running) -> None:
    """So many addresses that no row is free where this one could stand."""
    for number in range(30_000):
        relay.gateway.slots.take(number.to_bytes(8, "big"), 1)


def fill(relay: Running) -> None:
    name = relay.gateway.slots.name_of(ip_address("127.0.0.1"), 64)
    while relay.gateway.slots.take(name, relay.gateway.cap) >= 0:
        pass


def lose_store(relay: Running) -> None:
    relay.gateway.follower.unreadable_since = time.monotonic() - 1000


def go_wrong(relay: Running) -> None:
    follower: Any = relay.gateway.follower
    follower.words[0] += 1

    def fail() -> bool:
        raise RuntimeError("nobody has thought of this")

    follower.catch_up = fail


def leave_out(relay: Running) -> None:
    group = relay.gateway.upstreams["gone"]
    [member] = group.members
    assert member.breaker
    while not member.breaker.connect_failed(relay.gateway.loop.time()):
        pass
    group._leave_out(member, member.breaker, "it cannot be reached")


def fill_server(relay: Running) -> None:
    group = relay.gateway.upstreams["gone"]
    group.members[0].cap = 0
    group.line.rules = ServerQueue(0, 1.0)


def stop(relay: Running) -> None:
    relay.gateway.draining = relay.gateway.refusing = True


@dataclass(frozen=True)
class Row:
    """A request, and the refusal that it gets. ``unread``: its head could not be read, so its method is unknown."""

    refusal: Refusal
    status: int
    slug: str
    request: Request
    fields: dict[bytes, bytes] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    prepare: Prepare = lambda relay: None
    closes: bool = False
    unread: bool = False


CHALLENGE = {b"WWW-Authenticate": b'ApiKey realm="keystile"'}
SOON = {b"Retry-After": b"1"}
LONG = b"X-Long: " + b"x" * 2000
SOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 12",
)
ROWS = [
    Row(Refusal.BAD_REQUEST, 400, "bad-request", ask("/v4/contacts", b"Host: b"), closes=True, unread=True),
    Row(Refusal.BAD_PATH, 400, "bad-path", ask("/v4/./contacts")),
    Row(Refusal.AMBIGUOUS_PATH, 400, "ambiguous-path", ask("/v4/files/a%2Fstatus", scopes=("ViewFiles", "Export"))),
    Row(Refusal.TWO_KEYS, 400, "two-keys", twice),
    Row(Refusal.NO_KEY, 401, "api-key-required", keyless(), CHALLENGE),
    Row(
        Refusal.OTHER_CREDENTIALS,
        401,
        "api-key-required",
        keyless("/v4/contacts", b"Authorization: Basic YTpi"),
        CHALLENGE,
    ),
    Row(
        Refusal.INVALID_KEY,
        401,
        "invalid-api-key",
        keyless(key=secrets.generate().encode()),
        CHALLENGE,
    ),
    Row(Refusal.ADDRESS_NOT_ALLOWED, 403, "address-not-allowed", from_elsewhere),
    Row(Refusal.SCOPE_MISSING, 403, "scope-missing", ask(scopes=())),
    Row(Refusal.NOT_FOUND, 404, "not-found", ask("/v4/nothing")),
    Row(
        Refusal.METHOD_NOT_ALLOWED,
        405,
        "method-not-allowed",
        ask(method=b"DELETE"),
        {b"Allow": b"GET, HEAD, POST"},
    ),
    Row(
        Refusal.HEAD_TOO_SLOW,
        408,
        "request-timeout",
        lambda relay: ask()(relay)[:-2],
        limits={"head_timeout": 0.1},
        closes=True,
        unread=True,
    ),
    Row(
        Refusal.BODY_TOO_SLOW,
        408,
        "body-too-slow",
        ask("/any/x", b"Content-Length: 11"),
        limits={"rate_window": 0.1},
        closes=True,
    ),
    Row(
        Refusal.BODY_TOO_LARGE,
        413,
        "body-too-large",
        ask("/any/x", b"Content-Length: 11"),
        limits={"max_body_size": 10},
        closes=True,
    ),
    Row(
        Refusal.BODY_TOO_LARGE,
        413,
        "body-too-large",
        lambda relay: ask("/any/x", b"Transfer-Encoding: chunked")(relay) + b"6\r\n123456\r\n5\r\n12345\r\n",
        limits={"max_body_size": 10},
        closes=True,
    ),
    Row(
        Refusal.BAD_REQUEST,
        400,
        "bad-request",
        lambda relay: ask("/any/x", b"Transfer-Encoding: chunked")(relay) + b"6\r\n123456x\r\n",
        closes=True,
    ),
    Row(
        Refusal.TARGET_TOO_LONG,
        414,
        "target-too-long",
        ask("/any/" + "x" * 2000),
        limits={"max_head_size": 1024},
        closes=True,
        unread=True,
    ),
    Row(
        Refusal.UNKNOWN_EXPECTATION,
        417,
        "unknown-expectation",
        ask("/v4/contacts", b"Expect: the-best"),
        closes=True,
        unread=True,
    ),
    Row(
        Refusal.WEBSOCKET_VERSION,
        426,
        "websocket-version",
        ask("/ws", *SOCKET),
        {b"Sec-WebSocket-Version": b"13"},
        closes=True,
    ),
    Row(Refusal.TOO_MANY_AT_ONCE, 429, "too-many-at-once", ask(), SOON, prepare=fill),
    Row(
        Refusal.HEAD_TOO_LARGE,
        431,
        "head-too-large",
        ask("/v4/contacts", LONG),
        limits={"max_head_size": 1024},
        closes=True,
        unread=True,
    ),
    Row(Refusal.INTERNAL_ERROR, 500, "internal-error", ask(), prepare=go_wrong),
    Row(
        Refusal.NOT_IMPLEMENTED,
        501,
        "not-implemented",
        ask("/v4/contacts", b"Transfer-Encoding: gzip, chunked"),
        closes=True,
        unread=True,
    ),
    Row(Refusal.UPSTREAM_UNREACHABLE, 502, "upstream-unreachable", ask("/gone/x")),
    Row(Refusal.UPSTREAM_BROKEN, 502, "upstream-broken", ask("/any/garbage")),
    Row(Refusal.UPSTREAM_BROKEN, 502, "upstream-broken", ask("/any/reset")),
    Row(Refusal.NO_SERVER, 503, "no-server", ask("/gone/x"), SOON, prepare=leave_out),
    Row(Refusal.SERVERS_BUSY, 503, "servers-busy", ask("/gone/x"), SOON, prepare=fill_server),
    Row(Refusal.OVERLOADED, 503, "overloaded", ask(), SOON, prepare=crowd),
    Row(Refusal.DRAINING, 503, "draining", ask(), SOON, prepare=stop, closes=True),
    Row(Refusal.KEYS_UNAVAILABLE, 503, "keys-unavailable", ask(), {b"Retry-After": b"5"}, prepare=lose_store),
    Row(Refusal.CONNECT_TIMEOUT, 504, "connect-timeout", ask("/full/x"), limits={"connect_timeout": 0.1}),
    Row(Refusal.OUT_OF_TIME, 504, "out-of-time", ask("/any/silent"), limits={"request_timeout": 0.1}),
    Row(
        Refusal.BAD_VERSION,
        505,
        "bad-version",
        ask(version=b"2.0"),
        closes=True,
        unread=True,
    ),
]
#: Where nobody is told in an answer of its own: one is cut in the middle of another answer, one comes before any
#: request is read (``test_slow_peers.py``); those of the way in (``test_entrance.py``), and that of slots which are
#: counted over many hosts (``test_asking.py``).
NO_ROW = {
    Refusal.ANSWER_TOO_SLOW,
    Refusal.TOO_MANY_CONNECTIONS,
    Refusal.TLS_TOO_OLD,
    Refusal.KEY_IN_CLEAR,
    Refusal.COUNT_UNAVAILABLE,
}
#: What may be among an answer's fields; anything else would be a surprise to a client.
USUAL = {b"Content-Type", b"Cache-Control", b"Content-Length", b"X-Request-Id", b"Connection"}


def row_id(row: Row) -> str:
    return f"{row.refusal.name.lower()}-{ROWS.index(row)}"


async def misbehave(connection: RecordedConnection, sent: bytes) -> None:
    if b"/any/garbage" in sent:
        await connection.send(b"220 mail.example ESMTP\r\n")
    elif b"/any/reset" in sent:
        connection.reset()
    else:
        await connection.closed.wait()


async def refused(row: Row, data: Callable[[Running], bytes]) -> tuple[Answer, bytes, Running]:
    """The answer to a row's request, what came behind it, and the relay that gave it (over by then)."""
    socket_row = Operation(("GET",), "/ws", Needs(), "api", "test", 8, websocket=True)
    status_row = Operation(("GET",), "/v4/files/{name}/status", Needs(), "api", "test", 9)
    async with RecordingUpstream(misbehave) as upstream:
        with odd_servers() as others:
            changes = with_upstreams(upstream.port, *others)
            changes["operations"] = (*changes["operations"], socket_row, status_row)
            async with running(upstream.port, limits=row.limits, **changes) as relay:
                client = await RawClient.connect(relay.port)
                sent = data(relay)
                row.prepare(relay)
                await client.send(sent)
                answer = Answer(*await client.answer(to_head=sent.startswith(b"HEAD ")))
                if not row.closes:  # a connection that is kept is made to close, so that all of it can be read
                    await client.send(b"GET / HTTP/9.9\r\n\r\n")
                rest = await client.closed()
                await until(lambda: relay.gateway.in_flight == 0)
                return answer, rest if row.closes else rest.partition(b"HTTP/1.1 505 ")[0], relay


@pytest.mark.parametrize("row", ROWS, ids=row_id)
async def test_every_refusal_is_a_problem_that_can_be_read(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer, rest, relay = await refused(row, row.request)
    assert (answer.status, answer.slug) == (row.status, row.slug)
    assert answer.head.startswith(b"HTTP/1.1 %d %b\r\n" % (row.status, REASONS[row.status]))
    body = json.loads(answer.body)
    assert list(body) == ["type", "title", "status", "detail", "request_id"]
    assert (body["status"], body["title"]) == (row.status, row.refusal.title)
    assert body["request_id"].encode() == answer.field(b"X-Request-Id")
    assert body["detail"]
    assert "{" not in body["detail"]
    assert answer.field(b"Cache-Control") == b"no-store"
    assert answer.field(b"Connection") == (b"close" if row.closes else None)
    assert rest == b""
    for name, value in row.fields.items():
        assert answer.field(name) == value
    names = {line.partition(b":")[0] for line in answer.head.split(b"\r\n")[1:-2]}
    assert names - USUAL == set(row.fields)
    # Nothing of a key is in what was answered or logged, and it was counted once.
    for secret in relay.secrets:
        assert secret[:24] not in answer.head + answer.body
        assert secret[:24].decode() not in caplog.text
    assert relay.counters[f"refused_{row.refusal.name.lower()}"] == 1
    (line,) = [line for line in relay.lines if line["refusal"] == row.slug]
    assert (line["status"], line["request_id"]) == (row.status, body["request_id"])


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in ROWS
        if not row.unread and row.refusal not in (Refusal.METHOD_NOT_ALLOWED, Refusal.WEBSOCKET_VERSION)
    ],
    ids=row_id,
)
async def test_an_answer_to_head_has_no_body(row: Row) -> None:
    answer, rest, _ = await refused(row, lambda relay: row.request(relay).replace(b"GET ", b"HEAD ", 1))
    assert answer.status == row.status
    assert int(answer.field(b"Content-Length") or 0) > 0
    assert rest == b""


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.slug in ("bad-request", "unknown-expectation", "not-implemented") and row.unread],
    ids=row_id,
)
async def test_an_answer_to_head_has_no_body_where_only_the_fields_were_wrong(row: Row) -> None:
    """RFC 9110 §9.3.2: the request line has been read, so the method is known."""
    answer, rest, _ = await refused(row, lambda relay: row.request(relay).replace(b"GET ", b"HEAD ", 1))
    assert (answer.status, rest) == (row.status, b"")


def test_the_table_has_every_refusal() -> None:
    assert {row.refusal for row in ROWS} == set(Refusal) - NO_ROW


def test_every_fault_has_a_refusal_and_every_refusal_a_reason() -> None:
    assert {of_fault(fault) for fault in Fault} <= set(Refusal)
    assert {refusal.status for refusal in Refusal} <= set(REASONS)


def test_every_503_and_429_says_when_to_come_back() -> None:
    assert {refusal for refusal in Refusal if refusal.status in (429, 503)} == set(RETRY_AFTER)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v4/contacts HTTP/1.1\r\nHost: a\r\nX-Api-Key : %b\r\n\r\n",
        b"GET /v4/contacts HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\x00\r\n\r\n",
        b"GET /v4/contacts HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n",
        b"GET /v4/contacts HTTP/1.1\r\nHost: %b:x\r\n\r\n",
        b"GET /v4/contacts HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n",
        b"GET /v4/contacts HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n",
        b"GET /v4/contacts HTTP/1.1\r\nHost: a\r\nExpect: %b\r\n\r\n",
        b"GET /v4/contacts %b\r\nHost: a\r\n\r\n",
        b"%b /v4/contacts HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://%b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%b/%%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /any/%b/../x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?apikey=%b#x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\n\r\n",
        b"GET /any/x HTTP/1.1\r\nHost: a\r\nX-Request-Id: %b\r\n\r\n",
        b"GET /any/x HTTP/1.1\r\nHost: a\r\nCookie: %b\r\n\r\n",
    ],
)
async def test_a_key_in_a_place_where_none_belongs_is_never_said_again(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with RecordingUpstream() as upstream, running(upstream.port, operations=OPERATIONS) as relay:
        secret = relay.key()
        client = await RawClient.connect(relay.port)
        await client.send(data % secret)
        status, head, body = await client.answer()
        assert status >= 400
        assert secret[:24] not in head + body
        assert relay.lines
        assert secret[:24] not in relay.channel.of(b"L")
        assert secret[:24].decode() not in caplog.text
