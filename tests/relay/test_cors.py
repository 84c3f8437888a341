from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from keystile.config.model import Cors, Needs, Operation
from keystile.relay.cors import allows, answer_fields, preflight_fields
from tests.relay.running import OPERATIONS, Answer, Running, running, until
from tests.wire.peers import RecordedConnection, RecordingUpstream

PAGE = b"https://page.example"
POLICY = Cors(("https://page.example", "http://localhost:3000"), ("X-Trace",), 77)
#: The same policy for every operation but /any/*, which has none; /own has one for itself.
CORS: dict[str, Any] = {
    "cors": POLICY,
    "operations": (
        *(dataclasses.replace(row, cors=None if row.path == "/any/*" else POLICY) for row in OPERATIONS),
        Operation(("PUT",), "/own", Needs(all_of=frozenset({"Own"})), "api", "test", 9, cors=Cors(("*",))),
    ),
}


def names(answer: Answer) -> list[bytes]:
    return [line.partition(b":")[0].lower() for line in answer.head.split(b"\r\n")[1:-2]]


async def preflight(relay: Running, path: str, method: bytes, origin: bytes = PAGE) -> Answer:
    wanted = b"Access-Control-Request-Method: " + method
    return await relay.ask(path, b"Origin: " + origin, wanted, method=b"OPTIONS")


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"null",
        b"https://page.example.evil.example",
        b"https://page.example:8443",
        b"http://page.example",
        b"https://page.exampl",
        b"https://PAGE.example",
        b"\xff",
    ],
)
def test_an_origin_is_allowed_whole_or_not(origin: bytes) -> None:
    assert not allows(POLICY, origin)
    assert answer_fields(POLICY, origin) == b"Vary: Origin\r\n"


def test_a_star_allows_every_origin() -> None:
    assert allows(Cors(("*",)), b"https://any.example")
    assert b"Access-Control-Allow-Origin: https://any.example\r\n" in answer_fields(Cors(("*",)), b"https://any.example")


def test_without_a_policy_nothing_is_said() -> None:
    assert answer_fields(None, PAGE) == b""


def test_a_preflight_names_each_field_once() -> None:
    lines = preflight_fields(Cors(("*",), ("X-Trace", "Content-Type")), PAGE, b"PUT", ("X-Api-Key",))
    assert b"\r\nAccess-Control-Allow-Headers: X-Api-Key, Content-Type, X-Trace\r\n" in lines


async def test_a_preflight_is_answered_without_a_key() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **CORS) as relay:
        answer = await preflight(relay, "/v4/contacts?x=1", b"POST")
        assert (answer.status, answer.body) == (204, b"")
        assert answer.field(b"Access-Control-Allow-Origin") == PAGE
        assert answer.field(b"Access-Control-Allow-Methods") == b"POST"
        assert answer.field(b"Access-Control-Allow-Headers") == b"X-Api-Key, Content-Type, X-Trace"
        assert answer.field(b"Access-Control-Max-Age") == b"77"
        assert answer.field(b"Vary") == b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        assert answer.field(b"Content-Length") is None
        assert answer.field(b"X-Request-Id")
        assert upstream.requests == []
        (line,) = relay.lines
        assert (line["status"], line["method"], line["route"]) == (204, "OPTIONS", "/v4/contacts")


@pytest.mark.parametrize(
    ("path", "method", "origin", "status"),
    [
        ("/v4/contacts", b"POST", b"https://other.example", 401),
        ("/v4/contacts", b"DELETE", PAGE, 401),
        ("/v4/contacts", b"TRACE", PAGE, 401),
        ("/nothing", b"GET", PAGE, 401),
        ("/v4/../v4/contacts", b"GET", PAGE, 400),
        ("/any/x", b"GET", PAGE, 401),
        ("/own", b"GET", PAGE, 401),
    ],
)
async def test_what_is_no_preflight_for_an_operation_needs_a_key(
    path: str, method: bytes, origin: bytes, status: int
) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **CORS) as relay:
        answer = await preflight(relay, path, method, origin)
        assert answer.status == status
        assert b"access-control-allow-methods" not in names(answer)
        if origin != PAGE:
            assert b"access-control-allow-origin" not in names(answer)
        assert upstream.requests == []


async def test_the_methods_to_come_decides_and_not_options() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **CORS) as relay:
        assert (await preflight(relay, "/own", b"PUT", b"https://any.example")).status == 204
        assert (await relay.ask("/own", b"Origin: " + PAGE, method=b"OPTIONS", key=relay.key("Own"))).status == 405


async def test_the_answer_has_the_gateways_fields_and_not_the_upstreams() -> None:
    answer_with = (
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\nX-Kept: 1\r\n"
        b"access-control-allow-credentials: true\r\nVary: Accept\r\n\r\nok"
    )
    async with RecordingUpstream(answer_with) as upstream, running(upstream.port, **CORS) as relay:
        key = relay.key("ViewContacts")
        allowed = await relay.ask("/v4/contacts", b"Origin: " + PAGE, key=key)
        assert (allowed.status, allowed.field(b"Access-Control-Allow-Origin")) == (200, PAGE)
        assert allowed.field(b"Access-Control-Expose-Headers") == b"X-Request-Id, Retry-After"
        assert allowed.field(b"Access-Control-Allow-Credentials") is None
        assert allowed.field(b"X-Kept") == b"1"
        assert allowed.fields(b"Vary") == [b"Accept", b"Origin"]
        for fields in ([b"Origin: https://other.example"], []):
            other = await relay.ask("/v4/contacts", *fields, key=key)
            assert [name for name in names(other) if name.startswith(b"access-control-")] == []
            assert other.fields(b"Vary") == [b"Accept", b"Origin"]


async def test_a_route_without_a_policy_leaves_the_upstreams_fields_alone() -> None:
    answer_with = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n"
    async with RecordingUpstream(answer_with) as upstream, running(upstream.port, **CORS) as relay:
        answer = await relay.ask("/any/x", b"Origin: " + PAGE, key=relay.key())
        assert answer.field(b"Access-Control-Allow-Origin") == b"*"


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("/v4/contacts", "scope-missing"),
        ("/v4/contacts/", "not-found"),
        ("/v4/../contacts", "bad-path"),
        ("/open/../open", "bad-path"),
    ],
)
async def test_a_page_may_read_why_it_was_refused(path: str, slug: str) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **CORS) as relay:
        key = relay.key()
        answer = await relay.ask(path, b"Origin: " + PAGE, key=key)
        assert (answer.slug, answer.field(b"Access-Control-Allow-Origin")) == (slug, PAGE)
        answer = await relay.ask(path, b"Origin: " + PAGE)
        assert answer.field(b"Access-Control-Allow-Origin") == PAGE
        answer = await relay.ask(path, b"Origin: https://other.example", key=key)
        assert (answer.slug, answer.field(b"Access-Control-Allow-Origin")) == (slug, None)


@pytest.mark.parametrize("policy", ["all", "own"])
async def test_a_page_may_read_that_the_gateway_is_stopping(policy: str) -> None:
    path, method = ("/v4/contacts", b"GET") if policy == "all" else ("/own", b"PUT")
    changes = CORS if policy == "all" else {**CORS, "cors": None}
    async with RecordingUpstream() as upstream, running(upstream.port, **changes) as relay:
        relay.gateway.draining = relay.gateway.refusing = True
        answer = await relay.ask(path, b"Origin: " + PAGE, method=method)
        assert (answer.slug, answer.field(b"Access-Control-Allow-Origin")) == ("draining", PAGE)


async def test_a_page_may_read_that_its_upload_was_too_large() -> None:
    async def never(connection: RecordedConnection, request: bytes) -> None:
        await connection.closed.wait()

    limits = {"max_body_size": 10}
    async with RecordingUpstream(never) as upstream, running(upstream.port, limits=limits, **CORS) as relay:
        key = relay.key("ModifyContacts")
        answer = await relay.ask(
            "/v4/contacts", b"Origin: " + PAGE, b"Content-Length: 11", key=key, method=b"POST"
        )
        assert (answer.slug, answer.field(b"Access-Control-Allow-Origin")) == ("body-too-large", PAGE)
        await until(lambda: relay.gateway.slots.taken() == 0)
