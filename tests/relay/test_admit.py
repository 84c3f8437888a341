from __future__ import annotations

import asyncio
import dataclasses
import gc
import ipaddress
import re
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keystile.config.model import Listener, Needs, Operation
from keystile.keys import secret as secrets
from keystile.relay import admit
from keystile.routing.table import RouteTable
from tests.relay.running import OPERATIONS, Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

STATUS_ROW = Operation(
    ("GET",), "/v4/files/{name}/status", Needs(all_of=frozenset({"Export"})), "api", "test", 6
)
ANY_ROW = Operation(
    ("GET",), "/either", Needs(all_of=frozenset({"A"}), any_of=frozenset({"B", "C"})), "api", "test", 7
)
MORE: dict[str, Any] = {"operations": (*OPERATIONS, STATUS_ROW, ANY_ROW)}
LOCAL = {"trusted_proxies": (ipaddress.ip_network("127.0.0.1/32"),)}


async def hold(connection: RecordedConnection, sent: bytes) -> None:
    if b"/hold" in sent:
        await connection.closed.wait()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def behind(address: str) -> bytes:
    return b"X-Forwarded-For: " + address.encode()


# -- what is decided first --------------------------------------------------------------------------------

#: Each request has two faults; the refusal is that of the one looked at first.
ORDER: list[tuple[str, str, str, str]] = [
    # key, method, path, refusal
    ("none", "GET", "/v4/../v4/contacts", "bad-path"),
    ("bad", "GET", "/v4//contacts", "bad-path"),
    ("two", "GET", "/v4/%zz", "bad-path"),
    ("elsewhere", "GET", "/v4/\\contacts", "bad-path"),
    ("scopeless", "GET", "/v4/contacts?a#b", "bad-path"),
    ("none", "GET", "/nothing", "api-key-required"),
    ("bad", "GET", "/nothing", "invalid-api-key"),
    ("two", "GET", "/nothing", "two-keys"),
    ("none", "DELETE", "/v4/contacts", "api-key-required"),
    ("none", "TRACE", "/v4/contacts", "api-key-required"),
    ("none", "GET", "/v4/files/a%2Fstatus", "api-key-required"),
    ("bad", "GET", "/v4/contacts", "invalid-api-key"),
    ("elsewhere", "GET", "/nothing", "address-not-allowed"),
    ("elsewhere", "DELETE", "/v4/contacts", "address-not-allowed"),
    ("elsewhere", "GET", "/v4/contacts", "address-not-allowed"),
    ("elsewhere", "GET", "/v4/files/a%2Fstatus", "address-not-allowed"),
    ("scopeless", "GET", "/nothing", "not-found"),
    ("scopeless", "GET", "/any", "not-found"),
    ("scopeless", "DELETE", "/v4/contacts", "method-not-allowed"),
    ("scopeless", "TRACE", "/v4/contacts", "method-not-allowed"),
    ("scopeless", "GET", "/v4/files/a%2Fstatus", "ambiguous-path"),
    ("scopeless", "GET", "/v4/contacts", "scope-missing"),
    ("scopeless", "GET", "/v4/files/a%2Fb", "scope-missing"),
]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("kind", "method", "path", "slug"), ORDER)
async def test_the_first_of_several_faults_is_the_answer(
    full: bool, kind: str, method: str, path: str, slug: str
) -> None:
    """``full``: the address holds every slot already, and this is looked at last."""
    async with RecordingUpstream(hold) as upstream, running(
        upstream.port, limits={"concurrent_requests_per_ip": 1}, **MORE
    ) as relay:
        if full:
            holding = await RawClient.connect(relay.port)
            await holding.send(request("/any/hold", key=relay.key()))
            await until(lambda: relay.gateway.slots.taken() == 1)
        scopeless, elsewhere = relay.key("Other"), relay.key("Other", networks=["10.0.0.0/8"])
        lines = {
            "none": [],
            "bad": [b"X-Api-Key: " + secrets.generate().encode()],
            "two": [b"X-Api-Key: " + scopeless] * 2,
            "elsewhere": [b"X-Api-Key: " + elsewhere],
            "scopeless": [b"X-Api-Key: " + scopeless],
        }[kind]
        answer = await relay.ask(path, *lines, method=method.encode())
        assert answer.slug == slug
        assert relay.gateway.slots.taken() == int(full)
        assert len(upstream.requests) == int(full)


async def test_the_slot_is_the_last_thing_to_be_asked_for() -> None:
    async with RecordingUpstream(hold) as upstream, running(
        upstream.port, limits={"concurrent_requests_per_ip": 1}
    ) as relay:
        key = relay.key("ViewContacts")
        holding = await RawClient.connect(relay.port)
        await holding.send(request("/any/hold", key=key))
        await until(lambda: len(upstream.requests) == 1)
        assert (await relay.ask(key=key)).slug == "too-many-at-once"
        assert (await relay.ask("/open")).slug == "too-many-at-once"
        assert (await relay.ask("/open", source="127.0.0.2")).status == 200


async def test_where_a_connections_last_request_went_is_no_answer_for_another() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key, client = relay.key("ViewContacts"), await RawClient.connect(relay.port)

        number = 0

        async def status(path: str, method: bytes = b"GET") -> int:
            nonlocal number
            number += 1  # no two heads are alike
            await client.send(request(path, b"X-Number: %d" % number, key=key, method=method))
            return (await client.answer())[0]

        for _ in range(2):
            assert [await status("/v4/contacts") for _ in range(3)] == [200, 200, 200]
            assert await status("/v4/contacts", b"PATCH") == 405
            assert await status("/v4/contacts?a") == 200
            assert await status("/v4/contacts/%2e%2e/admin") == 400
            assert [await status("/nowhere") for _ in range(3)] == [404, 404, 404]
        assert [await status("/v4/contacts") for _ in range(3)] == [200, 200, 200]
        relay.gateway.table = RouteTable(())
        assert await status("/v4/contacts") == 404


@pytest.mark.source_only("compiled objects have no weak references")
async def test_no_connection_keeps_a_table_that_is_used_no_more() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key, client = relay.key("ViewContacts"), await RawClient.connect(relay.port)
        for path, expected in (("/v4/contacts", 200), ("/nowhere", 404)):
            before = weakref.ref(relay.gateway.table)
            for _ in range(3):
                await client.send(request("/v4/contacts", key=key))
                assert (await client.answer())[0] == 200
            relay.gateway.table = RouteTable(OPERATIONS)
            await client.send(request(path, key=key))
            assert (await client.answer())[0] == expected
            gc.collect()
            assert before() is None, path


# -- keys ---------------------------------------------------------------------------------------------------


async def test_unknown_deleted_changed_expired_and_mistyped_keys_get_one_and_the_same_answer() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        deleted, changed = relay.key("ViewContacts"), relay.key("ViewContacts")
        expired = relay.key("ViewContacts", expires=time.time() - 1)
        good = relay.key("ViewContacts")
        for key in (deleted, changed, good):
            assert (await relay.ask(key=key)).status == 200
        relay.keyring.remove("key1")
        relay._made = 1  # the next secret is the second key's
        relay.key("ViewContacts")
        mistyped = good[:40] + (b"0" if good[40:41] != b"0" else b"1") + good[41:]
        keys = [secrets.generate().encode(), deleted, changed, expired, mistyped, good.lower(), good[:-1], b"x", b""]
        texts = set()
        for key in keys:
            answer = await relay.ask(key=key)
            request_id = answer.field(b"X-Request-Id") or b"?"
            assert answer.status == 401
            texts.add((answer.head + answer.body).replace(request_id, b"ID"))
        assert len(texts) == 1
        assert b'WWW-Authenticate: ApiKey realm="keystile"\r\n' in next(iter(texts))
        assert len(upstream.requests) == 3


async def test_an_expiry_takes_effect_on_a_connection_that_is_kept() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        client = await RawClient.connect(relay.port)
        await client.send(request(key=key))
        assert (await client.answer())[0] == 200
        relay._made = 0
        relay.add(key, ("ViewContacts",), expires=None)
        held = relay.keyring.find(secrets.digest(key), time.time())
        assert held is not None
        held.expires = time.time() - 1
        await client.send(request(key=key))
        assert (await client.answer())[0] == 401


async def test_an_edit_takes_effect_on_a_connection_that_is_kept() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        client = await RawClient.connect(relay.port)
        relay._made = 1
        for scopes, networks, status in (
            (("ViewContacts",), (), 200),
            (("Other",), (), 403),
            (("ViewContacts", "More"), (), 200),
            (("ViewContacts",), ("10.0.0.0/8",), 403),
            (("ViewContacts",), ("127.0.0.0/8",), 200),
        ):
            relay.keyring.remove("key1")
            relay.add(key, scopes, networks)
            for _ in range(3):  # what repeats is worked out once
                await client.send(request(key=key))
                assert (await client.answer())[0] == status
        assert b"X-Keystile-Scopes: More, ViewContacts\r\n" in upstream.requests[3]
        assert b"X-Keystile-Scopes: ViewContacts\r\n" in upstream.requests[6]


async def test_other_routes_take_effect_on_a_connection_that_is_kept() -> None:
    needs = Needs(all_of=frozenset({"Other"}))
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        client = await RawClient.connect(relay.port)
        settings = relay.gateway.settings
        stricter = dataclasses.replace(OPERATIONS[0], needs=needs)
        for operations, status in ((OPERATIONS, 200), ((stricter,), 403), ((), 404), (OPERATIONS, 200)):
            relay.gateway.take(dataclasses.replace(settings, operations=operations))
            for _ in range(3):
                await client.send(request(key=key))
                assert (await client.answer())[0] == status


async def test_each_method_has_its_own_route_however_often_another_was_asked_for() -> None:
    """Of paths of one byte Python has one object each: they must be told apart by more than that."""
    rows = tuple(
        Operation((method,), path, Needs(all_of=frozenset({scope})), "api", "test", place)
        for place, (method, path, scope) in enumerate(
            [("GET", "/", "View"), ("DELETE", "/", "Modify"), ("GET", "/a", "View"), ("DELETE", "/a", "Modify")]
        )
    )
    async with RecordingUpstream() as upstream, running(upstream.port, operations=rows) as relay:
        key = relay.key("View")
        client = await RawClient.connect(relay.port)
        for path in ("/", "/a", "/"):
            for method, status in ((b"GET", 200), (b"DELETE", 403)):
                for _ in range(3):
                    await client.send(request(path, key=key, method=method))
                    assert (await client.answer())[0] == status


async def test_a_rung_bell_is_heard_before_a_key_is_trusted() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        follower: Any = relay.gateway.follower
        heard: list[int] = []

        def catch_up() -> bool:
            follower.seen = follower.words[0]
            heard.append(follower.seen)
            relay.keyring.remove("key1")
            return True

        follower.catch_up = catch_up
        client = await RawClient.connect(relay.port)
        await client.send(request(key=key))
        assert (await client.answer())[0] == 200
        follower.words[0] += 1
        await client.send(request(key=key) * 2)
        assert [(await client.answer())[0], (await client.answer())[0]] == [401, 401]
        assert heard == [1]


async def test_without_the_store_keys_are_trusted_for_a_while_only() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, trust_without_store=60.0) as relay:
        key = relay.key("ViewContacts")
        relay.gateway.follower.unreadable_since = time.monotonic() - 30
        assert (await relay.ask(key=key)).status == 200
        relay.gateway.follower.unreadable_since = time.monotonic() - 61
        assert (await relay.ask(key=key)).slug == "keys-unavailable"
        assert (await relay.ask("/open")).status == 200
        relay.gateway.follower.unreadable_since = None
        assert (await relay.ask(key=key)).status == 200


async def test_a_clock_that_is_set_moves_expiries_and_not_the_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person names as a moment goes by the wall clock, what lasts so long by one that nobody sets."""
    async with RecordingUpstream() as upstream, running(upstream.port, trust_without_store=60.0) as relay:
        for_ever, expiring = relay.key("ViewContacts"), relay.key("ViewContacts", expires=time.time() + 3600)
        relay.gateway.follower.unreadable_since = time.monotonic()
        for jump, status in ((7200.0, 401), (-7200.0, 200), (0.0, 200)):
            monkeypatch.setattr(admit, "time", lambda jump=jump: time.time() + jump)
            assert (await relay.ask(key=for_ever)).status == 200
            assert (await relay.ask(key=expiring)).status == status


@pytest.mark.parametrize("secret", [b"~!~", b"A" * 96, b"tok.en/with=signs", b"\xfc\xff", b"x" * 512])
async def test_imported_keys_need_no_check_digits(secret: bytes) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        own = relay.key("ViewContacts")
        assert (await relay.ask(key=secret)).status == 401
        relay.add(secret, ("ViewContacts",))
        assert (await relay.ask(key=secret)).status == 200
        assert (await relay.ask(key=secret + b"x")).status == 401
        assert secret not in upstream.received
        assert own not in upstream.received


# -- scopes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "scopes", "missing"),
    [
        ("/v4/contacts", ("Viewcontacts",), "ViewContacts"),
        ("/v4/contacts", ("ModifyContacts",), "ViewContacts"),
        ("/v4/contacts", ("ViewContacts",), None),
        ("/v4/files/a", ("ViewFiles",), "Export"),
        ("/v4/files/a", (), "Export and ViewFiles"),
        ("/v4/files/a", ("ViewFiles", "Export", "More"), None),
        ("/either", ("A",), "one of B, C"),
        ("/either", ("B", "C"), "A"),
        ("/either", ("A", "C"), None),
        ("/any/x", (), None),
    ],
)
async def test_a_missing_scope_is_named(path: str, scopes: tuple[str, ...], missing: str | None) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **MORE) as relay:
        answer = await relay.ask(path, key=relay.key(*scopes))
        assert answer.status == (200 if missing is None else 403)
        if missing is not None:
            assert answer.slug == "scope-missing"
            assert f"This call needs {missing}, which".encode() in answer.body
        assert len(upstream.requests) == (missing is None)


async def test_a_missing_scope_is_named_anew_where_the_call_or_the_key_is_another() -> None:
    """On one connection, with the same fields each time: what is missing is worked out once for the same."""
    async with RecordingUpstream() as upstream, running(upstream.port, **MORE) as relay:
        key = relay.key("ViewFiles")
        client = await RawClient.connect(relay.port)
        for path, scopes, missing in (
            ("/v4/contacts", ("ViewFiles",), "ViewContacts"),
            ("/v4/files/a", ("ViewFiles",), "Export"),
            ("/v4/contacts", ("ViewFiles",), "ViewContacts"),
            ("/either", ("ViewFiles",), "A"),
            ("/either", ("A",), "one of B, C"),
            ("/v4/files/a", ("A",), "Export and ViewFiles"),
            ("/v4/files/a", ("Export",), "ViewFiles"),
        ):
            relay.keyring.remove("key1")
            relay.add(key, scopes)
            for _ in range(3):
                await client.send(request(path, key=key))
                answer = Answer(*await client.answer())
                assert f"This call needs {missing}, which".encode() in answer.body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v4/files/a%2Fb", 200),
        ("/v4/files/a%2Fstatus", 400),
        ("/v4/files/a%252Fstatus", 400),
        ("/v4/files/a;x%2fstatus", 400),
        ("/v4/files/a%20b;v=1", 200),
        ("/v4/files/%2e%2e", 400),
        ("/v4/files/..;x", 400),
        ("/v4/files/a%5cb", 400),
        ("/v4/files/a%00", 400),
        ("/%76%34/files/a", 200),
        ("/V4/files/a", 404),
    ],
)
async def test_a_path_goes_on_byte_for_byte_or_not_at_all(path: str, status: int) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **MORE) as relay:
        answer = await relay.ask(path + "?q=%2F..%zz;", key=relay.key("ViewFiles", "Export"))
        assert answer.status == status
        targets = [sent.split(b" ")[1] for sent in upstream.requests]
        assert targets == ([path.encode() + b"?q=%2F..%zz;"] if status == 200 else [])


async def test_get_admits_head() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        assert (await relay.ask(method=b"HEAD", key=relay.key("ViewContacts"))).status == 200
        assert (await relay.ask(method=b"HEAD", key=relay.key())).status == 403
        assert [sent[:5] for sent in upstream.requests] == [b"HEAD "]


# -- addresses ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def on_every_address(relay: Running) -> AsyncIterator[int]:
    """The port of a listener to which IPv4 clients come as ``::ffff:a.b.c.d``."""
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    sock.listen(100)
    sock.setblocking(False)
    await relay.gateway.listen(sock, Listener("::", 0))
    yield sock.getsockname()[1]


async def asked(host: str, port: int, data: bytes, source: str | None = None) -> Answer:
    local = (source, 0) if source else None
    client = RawClient(*await asyncio.open_connection(host, port, local_addr=local))
    await client.send(data)
    return Answer(*await client.answer())


@pytest.mark.parametrize(
    ("networks", "allowed"),
    [
        (["127.0.0.1"], {"127.0.0.1"}),
        (["127.0.0.0/8"], {"127.0.0.1", "127.0.0.2"}),
        (["127.0.0.2-127.0.0.9"], {"127.0.0.2"}),
        (["::ffff:127.0.0.1"], {"127.0.0.1"}),
        (["::/0"], {"::1"}),
        (["::1", "127.0.0.2/32"], {"::1", "127.0.0.2"}),
        (["10.0.0.0/8", "2001:db8::/32"], set()),
        ([], {"127.0.0.1", "127.0.0.2", "::1"}),
    ],
)
async def test_a_key_works_from_its_networks_only(networks: list[str], allowed: set[str]) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay, on_every_address(relay) as port:
        data = request(key=relay.key("ViewContacts", networks=networks))
        for address in ("127.0.0.1", "127.0.0.2", "::1"):
            host = "::1" if address == "::1" else "127.0.0.1"
            ports = (port,) if address == "::1" else (port, relay.port)
            for one in ports:
                answer = await asked(host, one, data, address)
                assert answer.status == (200 if address in allowed else 403), (address, one == port)
                if answer.status == 403:
                    assert answer.slug == "address-not-allowed"
                    assert f"may not be used from {address}.".encode() in answer.body
        for sent in upstream.requests:
            assert b"::ffff" not in sent


async def test_a_mapped_address_shares_the_cap_of_the_ipv4_address() -> None:
    async with RecordingUpstream(hold) as upstream, running(
        upstream.port, limits={"concurrent_requests_per_ip": 1}
    ) as relay, on_every_address(relay) as port:
        holding = await RawClient.connect(port)
        await holding.send(request("/any/hold", key=relay.key()))
        await until(lambda: len(upstream.requests) == 1)
        assert (await relay.ask("/open")).status == 429
        assert (await asked("::1", port, request("/open"))).status == 200


# -- trusted proxies ------------------------------------------------------------------------------------------


async def test_a_spoofed_address_changes_nothing() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts", networks=["10.0.0.0/8"])
        for name in (b"X-Forwarded-For", b"X_Forwarded_For", b"Forwarded", b"X-Real-IP", b"True-Client-IP"):
            answer = await relay.ask("/v4/contacts", name + b": 10.0.0.1", key=key)
            assert (answer.slug, b"from 127.0.0.1." in answer.body) == ("address-not-allowed", True)
        assert upstream.requests == []


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        (["10.0.0.1"], "10.0.0.1"),
        (["6.6.6.6, 10.0.0.1"], "10.0.0.1"),
        (["6.6.6.6", "10.0.0.1"], "10.0.0.1"),
        (["10.0.0.1, 127.0.0.1"], "10.0.0.1"),
        (["10.0.0.1:4711"], "10.0.0.1"),
        (["::ffff:10.0.0.1"], "10.0.0.1"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["10.0.0.1, unknown"], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
async def test_a_trusted_proxy_says_who_is_calling(forwarded: list[str], caller: str) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **LOCAL) as relay:
        lines = [behind(entry) for entry in forwarded]
        here, elsewhere = relay.key("ViewContacts", networks=[caller]), relay.key(networks=["192.0.2.1"])
        assert (await relay.ask("/v4/contacts", *lines, key=here)).status == 200
        refused = await relay.ask("/v4/contacts", *lines, key=elsewhere)
        assert f"may not be used from {caller}.".encode() in refused.body
        assert (await relay.ask("/v4/contacts", *lines, key=here, source="127.0.0.2")).status == 403
        assert {line["address"] for line in relay.lines} == {caller, "127.0.0.2"}


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8:0:7::1", "2001:db8:0:7:ffff::2", True),
        ("2001:db8:0:7::1", "2001:db8:0:8::1", False),
    ],
)
@pytest.mark.parametrize("one_connection", [False, True])
async def test_the_cap_counts_callers_and_not_proxies(
    first: str, second: str, shared: bool, one_connection: bool
) -> None:
    async with RecordingUpstream(hold) as upstream, running(
        upstream.port, limits={"concurrent_requests_per_ip": 2}, **LOCAL
    ) as relay:
        key = relay.key()
        for _ in range(2):
            holding = await RawClient.connect(relay.port)
            if one_connection:  # first somebody else's request: what a connection remembers must not count
                await holding.send(request("/any/x", behind(second), key=key))
                assert (await holding.answer())[0] == 200
            await holding.send(request("/any/hold", behind(first), key=key))
        await until(lambda: relay.gateway.slots.taken() == 2)
        assert (await relay.ask("/any/x", behind(second), key=key)).status == (429 if shared else 200)
        assert (await relay.ask("/any/x", behind(first), key=key)).status == 429
        assert (await relay.ask("/any/x", key=key)).status == 200


async def test_the_length_of_ipv6_prefixes_can_be_set() -> None:
    async with RecordingUpstream(hold) as upstream, running(
        upstream.port, limits={"concurrent_requests_per_ip": 1, "ipv6_prefix_length": 48}, **LOCAL
    ) as relay:
        key = relay.key()
        holding = await RawClient.connect(relay.port)
        await holding.send(request("/any/hold", behind("2001:db8:0:7::1"), key=key))
        await until(lambda: relay.gateway.slots.taken() == 1)
        assert (await relay.ask("/any/x", behind("2001:db8:0:8::1"), key=key)).status == 429
        assert (await relay.ask("/any/x", behind("2001:db8:1:8::1"), key=key)).status == 200


async def test_basic_credentials_are_told_what_a_key_is() -> None:
    async with RecordingUpstream() as upstream, running(
        upstream.port, keys={"headers": ("X-Api-Key", "Authorization")}
    ) as relay:
        answer = await relay.ask("/v4/contacts", b"Authorization: Basic dXNlcjpwYXNz")
        assert (answer.status, answer.slug) == (401, "api-key-required")
        assert re.search(rb"SMTP credentials.* are not API keys.*X-Api-Key or Authorization", answer.body)
        assert b"dXNlcjpwYXNz" not in answer.head + answer.body
