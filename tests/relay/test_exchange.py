"""One request and its answer through a real relay, bytes against bytes."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import pytest

from keystile.relay.exchange import Exchange
from tests.relay.running import moments, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

GET = b"GET /v4/contacts HTTP/1.1\r\nHost: api.example\r\nX-Api-Key: %b\r\n\r\n"


async def test_an_admitted_request_goes_on_without_its_key_and_with_identity() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts", "Export")
        client = await RawClient.connect(relay.port)
        await client.send(
            b"GET /v4/contacts?limit=1 HTTP/1.1\r\nHost: api.example\r\nX-Api-Key: %b\r\nAccept: */*\r\n"
            b"X-Forwarded-For: 6.6.6.6\r\nX-Keystile-Account: root\r\nx_real_ip: 6.6.6.6\r\n\r\n" % key
        )
        status, head, body = await client.answer()
        assert (status, body) == (200, b"ok")
        (request,) = upstream.requests
        request_id = head.partition(b"X-Request-Id: ")[2].partition(b"\r\n")[0]
        assert request == (
            b"GET /v4/contacts?limit=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\n"
            b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: api.example\r\n"
            b"X-Keystile-Account: owner@example.com\r\nX-Keystile-Key: key1\r\n"
            b"X-Keystile-Scopes: Export, ViewContacts\r\nVia: 1.1 keystile\r\nX-Request-Id: %b\r\n\r\n"
            % (upstream.port, request_id)
        )
        assert head == (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 keystile\r\nX-Request-Id: %b\r\n\r\n" % request_id
        )


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_go_through_whole_in_both_directions(size: int, chunked: bool) -> None:
    body = bytes(i % 251 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)

    async def echo(connection: RecordedConnection, request: bytes) -> None:
        _, _, sent = request.partition(b"\r\n\r\n")
        if chunked:
            await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
        else:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)

    async with RecordingUpstream(echo) as upstream, running(upstream.port) as relay:
        key = relay.key("ModifyContacts")
        client = await RawClient.connect(relay.port)
        for _ in range(2):
            head = b"POST /v4/contacts HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n" % key
            if chunked:
                pieces = [body[i : i + 9999] for i in range(0, size, 9999)]
                await client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
                for piece in pieces:
                    await client.send(b"%X;ext=1\r\n%b\r\n" % (len(piece), piece))
                await client.send(b"0\r\nTrailer-Field: x\r\n\r\n")
            else:
                await client.send(head + b"Content-Length: %d\r\n\r\n" % size + body)
            status, _, received = await client.answer()
            assert status == 200
            assert received == body
        assert len(upstream.connections) == 1
        assert b"Trailer-Field" not in upstream.received
        assert relay.gateway.slots.taken() == 0


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def path_back(connection: RecordedConnection, request: bytes) -> None:
        path = request.split(b" ")[1]
        await asyncio.sleep(0.05 if path.endswith(b"/1") else 0)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async with RecordingUpstream(path_back) as upstream, running(upstream.port) as relay:
        key = relay.key()
        client = await RawClient.connect(relay.port)
        await client.send(
            b"".join(b"GET /any/%d HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n" % (i, key) for i in range(1, 200))
        )
        for i in range(1, 200):
            assert (await client.answer())[2] == b"/any/%d" % i
        assert relay.gateway.slots.taken() == 0


async def test_an_answer_that_is_cut_is_cut_for_the_client_too() -> None:
    async def cut(connection: RecordedConnection, request: bytes) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        connection.writer.close()

    async with RecordingUpstream(cut) as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(GET % relay.key("ViewContacts"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        await until(lambda: relay.gateway.slots.taken() == 0)


async def test_an_answer_that_ends_with_the_connection_is_chunked_for_the_client() -> None:
    async def until_close(connection: RecordedConnection, request: bytes) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        connection.writer.close()

    async with RecordingUpstream(until_close) as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        client = await RawClient.connect(relay.port)
        for _ in range(2):
            await client.send(GET % key)
            status, head, body = await client.answer()
            assert (status, body) == (200, b"hello")
            assert b"Transfer-Encoding: chunked\r\n" in head


async def test_a_client_that_leaves_ends_the_upstream_request_and_gives_its_slot_back() -> None:
    async def never(connection: RecordedConnection, request: bytes) -> None:
        await connection.closed.wait()

    async with RecordingUpstream(never) as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(GET % relay.key("ViewContacts"))
        await until(lambda: len(upstream.requests) == 1)
        assert relay.gateway.slots.taken() == 1
        client.reset()
        await until(lambda: relay.gateway.slots.taken() == 0)
        assert relay.gateway.in_flight == 0
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)


async def test_late_bytes_on_an_idle_connection_never_become_an_answer() -> None:
    async def twice(connection: RecordedConnection, request: bytes) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        await asyncio.sleep(0.02)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with RecordingUpstream(twice) as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        client = await RawClient.connect(relay.port)
        for _ in range(3):
            await client.send(GET % key)
            assert (await client.answer())[2] == b"good"
            await asyncio.sleep(0.05)
        assert len(upstream.connections) == 3


async def test_a_kept_connection_that_dies_is_replaced_once_for_an_idempotent_request() -> None:
    served = 0

    async def one_then_close(connection: RecordedConnection, request: bytes) -> None:
        nonlocal served
        if len(connection.requests) == 1:
            served += 1
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            connection.reset()

    async with RecordingUpstream(one_then_close) as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts", "ModifyContacts")
        client = await RawClient.connect(relay.port)
        for _ in range(2):
            await client.send(GET % key)
            assert (await client.answer())[0] == 200
        assert [len(c.requests) for c in upstream.connections] == [2, 1]
        await client.send(b"POST /v4/contacts HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n" % key)
        status, _, body = await client.answer()
        assert status == 502
        assert json.loads(body)["type"] == "urn:keystile:problem:upstream-broken"


async def test_expect_is_answered_once_the_upstream_is_there() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(
            b"POST /v4/contacts HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n" % relay.key("ModifyContacts")
        )
        assert (await client.answer())[0] == 100
        await client.send(b"hello")
        assert (await client.answer())[0] == 200
        assert upstream.requests[0].endswith(b"\r\n\r\nhello")
        assert b"Expect" not in upstream.received


async def test_a_refused_body_closes_the_connection_after_the_answer() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(b"POST /v4/contacts HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello")
        status, head, _ = await client.answer()
        assert status == 401
        assert b"Connection: close\r\n" in head
        await client.send(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.closed() == b""
        assert upstream.requests == []


async def test_the_total_time_ends_a_request_wherever_it_is() -> None:
    async def dribble(connection: RecordedConnection, request: bytes) -> None:
        if b"/any/silent" in request:
            await connection.closed.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not connection.closed.is_set():
            await connection.send(b"1\r\nx\r\n")
            await asyncio.sleep(0.02)

    async with (
        RecordingUpstream(dribble) as upstream,
        running(upstream.port, limits={"request_timeout": 0.3}) as relay,
    ):
        key = relay.key()
        silent, dribbling = await RawClient.connect(relay.port), await RawClient.connect(relay.port)
        await silent.send(b"GET /any/silent HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n" % key)
        await dribbling.send(b"GET /any/x HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n" % key)
        assert (await silent.answer())[0] == 504
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await dribbling.answer()
        await until(lambda: all(c.closed.is_set() for c in upstream.connections))
        assert relay.gateway.slots.taken() == 0


# -- its moments ----------------------------------------------------------------------------------------------------


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_the_moments_of_an_exchange_tell_its_servers_time_from_the_rest() -> None:
    async def slow(connection: RecordedConnection, sent: bytes) -> None:
        clock.now += 3
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.05)
        clock.now += 4
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with RecordingUpstream(slow) as upstream, running(upstream.port) as relay:
        with moments(relay) as (clock, ended):
            assert (await relay.ask("/open")).status == 200
            assert (await relay.ask("/nothing")).status == 401
            assert (await relay.ask("/open")).status == 200
    first, refused, second = ended
    assert (first.began, first.forwarded_at, first.heard_at, first.ended_at) == (1000, 1000, 1007, 1007)
    assert (refused.began, refused.forwarded_at, refused.heard_at, refused.ended_at) == (1007, 0, 0, 1007)
    assert (second.forwarded_at, second.heard_at) == (1007, 1014)
    assert not any(each.started_at or each.waited for each in ended)


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_where_more_of_an_answer_comes_later_the_moment_of_its_head_is_known() -> None:
    async def streams(connection: RecordedConnection, sent: bytes) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await until(lambda: relay.gateway.recorder.bytes_held == 0)
        await asyncio.sleep(0.05)
        clock.now += 5
        await connection.send(b"k")

    async with RecordingUpstream(streams) as upstream, running(upstream.port) as relay:
        with moments(relay) as (clock, ended):
            assert (await relay.ask("/open")).status == 200
    [exchange] = ended
    assert (exchange.heard_at, exchange.started_at, exchange.ended_at) == (1000, 1000, 1005)


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_a_client_that_reads_slowly_does_not_count_as_ours() -> None:
    async def answer(connection: RecordedConnection, sent: bytes) -> None:
        [client] = relay.gateway.connections
        client.paused = True
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        exchange = cast(Exchange, client.served)
        await until(lambda: exchange.all_written)
        clock.now += 9
        client.resume_writing()

    async with RecordingUpstream(answer) as upstream, running(upstream.port) as relay:
        with moments(relay) as (clock, ended):
            reader = await RawClient.connect(relay.port)
            await reader.send(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.answer())[0] == 200
            await until(lambda: ended)
    [exchange] = ended
    assert (exchange.started_at, exchange.ended_at) == (1000, 1009)


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_what_an_exchange_waited_for_a_server_is_known_whatever_it_waited_for() -> None:
    async def breaks_once(connection: RecordedConnection, sent: bytes) -> None:
        if len(connection.requests) == 2 and b"/open/again" not in sent:
            clock.now += 2
            connection.reset()
        else:
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with RecordingUpstream(breaks_once) as upstream, running(upstream.port) as relay:
        with moments(relay) as (clock, ended):
            for _ in range(2):
                assert (await relay.ask("/open")).status == 204
    connected, sent_again = ended
    assert (connected.waited, connected.forwarded_at) == (0, 1000)
    assert (sent_again.waited, sent_again.forwarded_at, sent_again.heard_at) == (2, 1002, 1002)
