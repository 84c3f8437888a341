"""Who is calling behind trusted proxies: whose limits and restrictions count, and what upstreams are told."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.limits.slots import SlotTable
from keystile.relay.callers import Callers
from keystile.wire.peer import Trusted, client_behind, parse_address
from keystile.wire.request_fields import RequestFields
from tests.relay.running import Answer, Running, request, running, settings, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

TRUSTED = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))
FORWARDED = {"client_address_field": "Forwarded"}


async def one(relay: Running, upstream: RecordingUpstream, *fields: bytes, **how: Any) -> tuple[dict[str, Any], Answer]:
    """The log line of one request with these fields, and what the upstream received."""
    answer = await relay.ask("/any/a", *fields, key=relay.key(), **how)
    assert answer.status == 200
    return relay.lines[-1], Answer(0, upstream.requests[-1], b"")


@pytest.mark.parametrize(
    ("setting", "address"), [({}, "192.0.2.1"), (FORWARDED, "192.0.2.2")], ids=["X-Forwarded-For", "Forwarded"]
)
async def test_one_of_two_fields_is_believed_and_the_other_is_never_read(setting: Any, address: str) -> None:
    async with RecordingUpstream() as up, running(up.port, trusted_proxies=TRUSTED, **setting) as relay:
        fields = (b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=192.0.2.2")
        for order in (fields, fields[::-1]):
            line, received = await one(relay, up, *order)
            assert (line["address"], line["socket"]) == (address, "127.0.0.1")
            assert received.field(b"X-Forwarded-For") == f"{address}, 127.0.0.1".encode()
            assert received.field(b"Forwarded") is None


@pytest.mark.parametrize(("setting", "field"), [({}, b"Forwarded: for=192.0.2.2"),
                                                (FORWARDED, b"X-Forwarded-For: 192.0.2.1")])  # fmt: skip
async def test_where_the_believed_field_is_missing_the_proxy_is_the_caller(setting: Any, field: bytes) -> None:
    """Its client may have written the other."""
    async with RecordingUpstream() as up, running(up.port, trusted_proxies=TRUSTED, **setting) as relay:
        line, received = await one(relay, up, field, source="127.0.0.9")
        assert (line["address"], line["socket"]) == ("127.0.0.9", "127.0.0.9")
        assert received.field(b"X-Forwarded-For") == b"127.0.0.9"


async def test_what_forwarded_says_is_told_to_upstreams_in_the_usual_fields() -> None:
    async with RecordingUpstream() as up, running(up.port, trusted_proxies=TRUSTED, **FORWARDED) as relay:
        element = b'Forwarded: for=6.6.6.6;host=evil, for="[2001:db8::1]:99";proto=https;host=api.public, for=10.1.1.1'
        line, received = await one(relay, up, element, b"X-Forwarded-Host: evil", b"X-Forwarded-Proto: gopher")
        assert line["address"] == "2001:db8::1"
        assert received.field(b"X-Forwarded-For") == b"2001:db8::1, 127.0.0.1"
        assert received.field(b"X-Forwarded-Proto") == b"https"
        assert received.field(b"X-Forwarded-Host") == b"api.public"
        assert b"evil" not in received.head


@pytest.mark.parametrize("node", [b"for=unknown", b"for=_hidden", b"proto=https", b'for="1.2.3.4', b""])
async def test_a_hop_that_names_nobody_leads_to_nobody(node: bytes) -> None:
    async with RecordingUpstream() as up, running(up.port, trusted_proxies=TRUSTED, **FORWARDED) as relay:
        line, received = await one(relay, up, b"Forwarded: for=192.0.2.1, " + node + b", for=10.1.1.1")
        assert line["address"] == "10.1.1.1"
        assert received.field(b"X-Forwarded-For") == b"10.1.1.1, 127.0.0.1"


async def test_from_who_is_no_trusted_proxy_neither_is_believed() -> None:
    for setting in ({}, FORWARDED):
        async with RecordingUpstream() as up, running(up.port, trusted_proxies=TRUSTED[1:], **setting) as relay:
            fields = (b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=192.0.2.2")
            line, received = await one(relay, up, *fields)
            assert line["address"] == line["socket"] == "127.0.0.1"
            assert received.field(b"X-Forwarded-For") == b"127.0.0.1"
            assert b"192.0.2" not in received.head


@pytest.mark.parametrize(
    "forged", [b"10.1.1.1", b"127.0.0.1", b"::ffff:10.1.1.1", b"garbage", b"", b"10.1.1.1, 10.1.1.2"]
)
async def test_no_text_of_a_client_gets_it_past_a_restriction(forged: bytes) -> None:
    async with RecordingUpstream() as up, running(up.port, trusted_proxies=TRUSTED) as relay:
        key = relay.key(networks=["10.0.0.0/8", "127.0.0.0/8"])
        # The proxy appends the address that it sees, to the client's line or as one of its own.
        lines = [[b"X-Forwarded-For: " + forged + b", 203.0.113.9"],
                 [b"X-Forwarded-For: " + forged, b"X-Forwarded-For: 203.0.113.9"]]  # fmt: skip
        for fields in lines:
            assert (await relay.ask("/any/a", *fields, key=key)).status == 403
        assert up.requests == []


async def test_the_cap_counts_the_callers_behind_a_proxy_one_by_one() -> None:
    may_answer = asyncio.Event()

    async def hold(connection: RecordedConnection, _: bytes) -> None:
        await may_answer.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with RecordingUpstream(hold) as up, running(
        up.port, trusted_proxies=TRUSTED, limits={"concurrent_requests_per_ip": 1}
    ) as relay:
        key, clients = relay.key(), []
        for number, address in enumerate((b"192.0.2.1", b"::ffff:192.0.2.1", b"192.0.2.2")):
            client = await RawClient.connect(relay.port)
            await client.send(request("/any/a", b"X-Forwarded-For: " + address, key=key))
            clients.append(client)
            await until(lambda: relay.gateway.in_flight + relay.gateway.recorder.requests > number)  # noqa: B023
        may_answer.set()
        assert [(await client.answer())[0] for client in clients] == [200, 429, 200]


_hops = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["10.1.1.1", "192.0.2.1", "192.0.2.1:80", "::ffff:192.0.2.1", "[2001:db8::1]:1", "01.2.3.4",
                     "1.2.3", "", " ", "x", "\xe9", "1.2.3.4\x00", "127.0.0.1\n"]),
)  # fmt: skip
_values = st.lists(st.tuples(_hops, st.sampled_from(["", " ", "\t"])).map("".join), min_size=1, max_size=3)
_lines = st.lists(_values.map(lambda hops: ",".join(hops).encode("latin-1")), max_size=3).map(tuple)


@given(_lines, st.sampled_from(["127.0.0.1", "10.0.0.1"]), st.sampled_from([None, "TLSv1.3"]))
def test_the_usual_hop_says_what_the_rule_for_all_says(lines: tuple[bytes, ...], proxy: str, tls: str | None) -> None:
    table = SlotTable.create(rows=64, columns=4)
    try:
        callers = Callers(settings(1, trusted_proxies=TRUSTED), table)
        socket_peer = callers._peer(parse_address(proxy), tls)
        fields = RequestFields(1)
        fields.forwarded_for = lines
        told = callers.behind(socket_peer, fields)
        ip = client_behind(parse_address(proxy), lines, Trusted(TRUSTED))
        expected = callers._peer(ip, tls, socket=proxy)
        for name in ("text", "name", "tls", "trusted", "slot", "number", "socket", "socket_name"):
            assert getattr(told, name) == getattr(expected, name), name
    finally:
        table.close()
