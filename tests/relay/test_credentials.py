from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys import secret as secrets
from keystile.relay.credentials import MAX_SECRET, Presented, presented_in, split_query
from keystile.relay.refusal import Refusal
from keystile.wire.request_head import RequestHeadReader
from tests.attributes import attributes
from tests.relay.running import request, running
from tests.wire.peers import RawClient, RecordingUpstream

KEY = secrets.generate().encode()


def presented(*lines: bytes, withheld: tuple[str, ...] = ("X-Api-Key",)) -> Presented | Refusal:
    block = b"".join(b"%b\r\n" % line for line in (b"1", b"Host: a", *lines, b""))
    return presented_in(RequestHeadReader(withheld=withheld).read(block))


@pytest.mark.parametrize("name", [b"X-Api-Key", b"x-api-key", b"X_API_KEY", b"x-Api_key"])
def test_every_spelling_of_the_field_presents_a_key(name: bytes) -> None:
    found = presented(name + b": \t" + KEY + b" \t")
    assert isinstance(found, Presented)
    assert found.digest == secrets.digest(KEY)


def test_the_secret_is_not_kept() -> None:
    found = presented(b"X-Api-Key: " + KEY)
    assert isinstance(found, Presented)
    assert KEY not in [getattr(found, name) for name in attributes(Presented)]


@pytest.mark.parametrize(
    "lines",
    [
        (b"X-Api-Key: a", b"X-Api-Key: b"),
        (b"X-Api-Key: a", b"X-Api-Key: a"),
        (b"X-Api-Key: a", b"X_Api_Key: a"),
        (b"X-Api-Key: a", b"X-Api-Key:"),
        (b"X-Api-Key: a", b"X-Other-Key: b"),
        (b"X-Api-Key: a", b"Authorization: Bearer b"),
        (b"Authorization: Bearer b", b"Authorization: Bearer b"),
    ],
)
def test_two_keys_or_one_twice_are_no_key(lines: tuple[bytes, ...]) -> None:
    found = presented(*lines, withheld=("X-Api-Key", "X-Other-Key", "Authorization"))
    assert found is Refusal.TWO_KEYS


@pytest.mark.parametrize(
    ("line", "withheld", "expected"),
    [
        (b"Accept: */*", ("X-Api-Key",), Refusal.NO_KEY),
        (b"Authorization: Bearer abc", ("X-Api-Key",), Refusal.NO_KEY),
        (b"Authorization: Basic YTpi", ("X-Api-Key",), Refusal.OTHER_CREDENTIALS),
        (b"authorization: bASIC YTpi", ("X-Api-Key",), Refusal.OTHER_CREDENTIALS),
        (b"Authorization: Basic YTpi", ("Authorization",), Refusal.OTHER_CREDENTIALS),
        (b"Authorization: Digest a=b", ("Authorization",), Refusal.OTHER_CREDENTIALS),
        (b"X-Api-Key:", ("X-Api-Key",), Refusal.INVALID_KEY),
        (b"Authorization: Bearer", ("Authorization",), Refusal.INVALID_KEY),
        (b"X-Api-Key: " + b"A" * (MAX_SECRET + 1), ("X-Api-Key",), Refusal.INVALID_KEY),
    ],
)
def test_what_is_presented_instead_of_a_key(line: bytes, withheld: tuple[str, ...], expected: Refusal) -> None:
    assert presented(line, withheld=withheld) is expected


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER   "])
def test_authorization_as_key_field_means_bearer(scheme: bytes) -> None:
    found = presented(b"Authorization: " + scheme + KEY, withheld=("Authorization",))
    assert isinstance(found, Presented)
    assert found.digest == secrets.digest(KEY)


@given(st.lists(st.tuples(st.text(), st.text())), st.text(min_size=1))
def test_what_is_not_the_parameter_stays_byte_for_byte(pairs: list[tuple[str, str]], value: str) -> None:
    pieces = [f"{quote(name)}={quote(text)}".encode() for name, text in pairs]
    others = [piece for piece in pieces if unquote_to_bytes(piece.partition(b"=")[0]).lower() != b"apikey"]
    query = b"&".join([*others, b"apikey=" + quote(value, safe="").encode()])
    assert split_query(query, b"apikey") == ([value.encode()], b"&".join(others))


@pytest.mark.parametrize("name", [b"apikey", b"ApiKey", b"%61pikey", b"%61%70%69%6b%65%79", b"api%4Bey"])
def test_every_spelling_of_the_parameter_is_taken_out(name: bytes) -> None:
    assert split_query(b"a=%2F&" + name + b"=x%41y&b=+1", b"apikey") == ([b"xAy"], b"a=%2F&b=+1")


BEARER: dict[str, Any] = {"keys": {"headers": ("X-Api-Key", "Authorization")}}
QUERY: dict[str, Any] = {"keys": {"query_parameter": "apikey"}}


async def test_a_bearer_key_is_taken_out_of_what_goes_on() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **BEARER) as relay:
        key = relay.key("ViewContacts")
        assert (await relay.ask("/v4/contacts", b"Authorization: Bearer " + key)).status == 200
        assert (await relay.ask("/v4/contacts", b"Authorization: Bearer " + key, key=key)).slug == "two-keys"
        assert key not in upstream.received
        assert b"authorization" not in upstream.received.lower()


async def test_authorization_that_is_no_key_field_goes_on() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        await relay.ask("/v4/contacts", b"Authorization: Basic YTpi", key=relay.key("ViewContacts"))
        assert b"\r\nAuthorization: Basic YTpi\r\n" in upstream.requests[0]


@pytest.mark.parametrize("name", [b"X_Api_Key", b"x_api-key", b"X-API-KEY"])
async def test_every_spelling_counts_and_none_goes_on(name: bytes) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        line = name + b": " + key
        assert (await relay.ask("/v4/contacts", line)).status == 200
        assert (await relay.ask("/v4/contacts", line, key=key)).slug == "two-keys"
        assert (await relay.ask("/open", line)).status == 200
        assert key not in upstream.received
        assert name.lower() not in upstream.received.lower()


@pytest.mark.parametrize("name", ["apikey", "APIKEY", "%61pikey", "api%6bey"])
async def test_a_key_in_the_query_is_taken_out_of_what_goes_on(name: str) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **QUERY) as relay:
        key = relay.key("ViewContacts")
        for before, after in (("", ""), ("a=%2F", ""), ("", "b=1+2"), ("a", "b=%c3")):
            query = "&".join(piece for piece in (before, f"{name}={key.decode()}", after) if piece)
            assert (await relay.ask(f"/v4/contacts?{query}")).status == 200
        targets = [sent.split(b" ")[1] for sent in upstream.requests]
        assert targets == [b"/v4/contacts", b"/v4/contacts?a=%2F", b"/v4/contacts?b=1+2", b"/v4/contacts?a&b=%c3"]
        assert key not in upstream.received


async def test_a_key_in_the_query_and_another_is_one_too_many() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **QUERY) as relay:
        key = relay.key("ViewContacts")
        text = key.decode()
        assert (await relay.ask(f"/v4/contacts?apikey={text}&api%6bey={text}")).slug == "two-keys"
        assert (await relay.ask(f"/v4/contacts?apikey={text}", key=key)).slug == "two-keys"
        assert (await relay.ask(f"/v4/contacts?apikey={text}", b"X-Api-Key:")).slug == "two-keys"
        assert (await relay.ask(f"/v4/contacts?apikey={text}", b"Authorization: Basic YTpi")).status == 200
        assert (await relay.ask("/v4/contacts?apikey=")).slug == "invalid-api-key"
        assert len(upstream.requests) == 1


async def test_a_key_in_the_query_is_taken_out_on_public_routes_too() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **QUERY) as relay:
        key = relay.key()
        assert (await relay.ask(f"/open?a=1&apikey={key.decode()}&apikey={key.decode()}")).status == 200
        assert upstream.requests[0].startswith(b"GET /open?a=1 HTTP/1.1\r\n")
        assert b"X-Keystile-" not in upstream.received


async def test_a_parameter_of_that_name_is_the_apis_own_where_none_is_configured() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        assert (await relay.ask("/open?apikey=x")).status == 200
        assert (await relay.ask(f"/v4/contacts?apikey={relay.key('ViewContacts').decode()}")).status == 401
        assert upstream.requests[0].startswith(b"GET /open?apikey=x HTTP/1.1\r\n")


async def test_a_kept_connection_presents_a_key_anew_with_each_request() -> None:
    """What is remembered of a head must not outlive it."""
    async with RecordingUpstream() as upstream, running(upstream.port, **QUERY) as relay:
        one, two = relay.key("ViewContacts"), relay.key("ViewContacts")
        client = await RawClient.connect(relay.port)
        keys = [(one, b"key1"), (two, b"key2"), (None, None), (two, b"key2"), (one, b"key1"), (one, b"key1")]
        for key, expected in keys:
            await client.send(request(key=key))
            assert (await client.answer())[0] == (200 if expected else 401)
        await client.send(request(f"/v4/contacts?apikey={two.decode()}") * 2 + request())
        assert [(await client.answer())[0] for _ in range(3)] == [200, 200, 401]
        seen = [sent.partition(b"X-Keystile-Key: ")[2].partition(b"\r\n")[0] for sent in upstream.requests]
        assert seen == [expected for _, expected in keys if expected] + [b"key2"] * 2
