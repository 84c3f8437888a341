"""A relay works by another configuration from one request to the next (``Gateway.take``)."""

from __future__ import annotations

import asyncio
import dataclasses
from ipaddress import ip_network
from typing import Any

import pytest

from keystile.config.model import AccessLog, KeyPolicy, Limits, Needs, Operation, Server, Upstream, Waiting
from keystile.relay import gateway as gateway_module
from tests.relay.running import OPERATIONS, Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def change(relay: Running, **changes: Any) -> None:
    """Take the settings as they are but for ``changes``."""
    relay.gateway.take(dataclasses.replace(relay.gateway.settings, **changes))


class Talk:
    """One kept-alive client."""

    def __init__(self, client: RawClient, key: bytes) -> None:
        self.client = client
        self.key = key

    async def ask(self, path: str = "/any/x", *fields: bytes, key: bytes | None = None) -> Answer:
        await self.client.send(request(path, *fields, key=self.key if key is None else key))
        return Answer(*await self.client.answer())


async def talk(relay: Running) -> Talk:
    return Talk(await RawClient.connect(relay.port), relay.key())


async def test_permissions_count_for_the_next_request_of_a_kept_connection() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        assert (await here.ask()).status == 200
        needs = Needs(all_of=frozenset({"New"}))
        change(relay, operations=(Operation((), "/any/*", needs, "api", "test", 0),))
        assert (await here.ask()).status == 403
        change(relay, operations=OPERATIONS)
        assert (await here.ask()).status == 200


async def test_the_same_head_is_read_anew() -> None:
    # A kept-alive client repeats its head, and what was derived from it is kept: by the old names of fields.
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        both = (b"X-Other: %b" % here.key,)
        assert (await here.ask("/any/x", *both)).status == 200
        assert here.key in upstream.requests[-1]  # nothing to us
        change(relay, keys=KeyPolicy(headers=("X-Other",)))
        assert (await here.ask("/any/x", *both)).status == 200
        assert here.key in upstream.requests[-1]  # now it is X-Api-Key that is nothing to us
        assert b"X-Other" not in upstream.requests[-1]
        assert (await here.ask()).status == 401


async def test_a_head_behind_a_request_on_its_way_is_read_by_the_new_names() -> None:
    """It has come before the change, and most of its lines stand where they stood in the head that is being served."""
    go = asyncio.Event()

    async def hold(connection: RecordedConnection, sent: bytes) -> None:
        if b"X-Number: 3" in sent:
            await go.wait()
        await connection.send(OK)

    async with RecordingUpstream(hold) as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        other = b"X-Other: %b" % here.key
        head = [request("/any/x", other, b"X-Number: %d" % number, key=here.key) for number in range(6)]
        for number in (1, 2):
            await here.client.send(head[number])
            assert (await here.client.answer())[0] == 200
        await here.client.send(head[3] + head[4])
        await until(lambda: len(upstream.requests) == 3)
        change(relay, keys=KeyPolicy(headers=("X-Other",)))
        other_client = await RawClient.connect(relay.port)
        await other_client.send(head[0])  # the new rules have met all the names, as when others call
        assert (await other_client.answer())[0] == 200
        go.set()
        await here.client.send(head[5])
        assert [(await here.client.answer())[0] for _ in range(3)] == [200, 200, 200]
        assert [b"X-Other" in each for each in upstream.requests] == [True, True, True, False, False, False]
        assert [b"X-Api-Key" in each for each in upstream.requests] == [False, False, False, True, True, True]


async def test_who_is_trusted_counts_for_connections_that_are_open() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        for networks, address in (((), "127.0.0.1"), ((ip_network("127.0.0.0/8"),), "192.0.2.9"), ((), "127.0.0.1")):
            change(relay, trusted_proxies=networks)
            await here.ask("/any/x", b"X-Forwarded-For: 192.0.2.9")
            assert relay.lines[-1]["address"] == address


async def test_limits_change() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        change(relay, limits=Limits(max_head_size=1024))
        assert (await here.ask("/any/x", b"X-Long: " + b"x" * 2000)).status == 431
        here.client.reset()
        await until(lambda: not relay.gateway.connections)
        change(relay, limits=Limits(concurrent_requests_per_ip=1, connections_per_ip=1))
        first = await talk(relay)
        assert (await first.ask()).status == 200
        assert Answer(*await (await RawClient.connect(relay.port)).answer()).status == 503


async def test_an_upstream_that_stays_keeps_its_connections_and_one_that_goes_closes_them() -> None:
    async with RecordingUpstream() as upstream, RecordingUpstream() as other, running(upstream.port) as relay:
        here = await talk(relay)
        await here.ask()
        change(relay, health_path="/healthz")
        await here.ask()
        assert len(upstream.connections) == 1
        change(relay, upstreams=(Upstream("api", (Server("127.0.0.1", other.port),)),))
        assert (await here.ask()).status == 200
        assert (len(upstream.requests), len(other.requests)) == (2, 1)
        await until(lambda: upstream.connections[0].reader.at_eof())


async def test_a_request_on_its_way_is_answered_and_its_connection_is_not_kept() -> None:
    go = asyncio.Event()

    async def slow(connection: RecordedConnection, _: bytes) -> None:
        await go.wait()
        await connection.send(OK)

    async with RecordingUpstream(slow) as upstream, RecordingUpstream() as other, running(upstream.port) as relay:
        here = await talk(relay)
        await here.client.send(request("/any/x", key=here.key))
        await until(lambda: upstream.requests)
        change(relay, upstreams=(Upstream("api", (Server("127.0.0.1", other.port),)),), operations=OPERATIONS[:1])
        go.set()
        assert (await here.client.answer())[0] == 200
        assert (await here.ask()).status == 404
        await until(lambda: upstream.connections[0].reader.at_eof())
        assert relay.gateway.slots.taken() == 0


async def test_a_request_on_its_way_is_held_to_what_held_when_it_began() -> None:
    go = asyncio.Event()

    async def slow(connection: RecordedConnection, _: bytes) -> None:
        await go.wait()
        await connection.send(OK)

    def chunked(key: bytes) -> bytes:
        return request("/any/x", b"Transfer-Encoding: chunked", key=key, method=b"POST")

    before = {"request_timeout": 0.9, "max_body_size": 100}
    async with RecordingUpstream(slow) as upstream, running(upstream.port, limits=before) as relay:
        late, small, large, new = [await talk(relay) for _ in range(4)]
        await late.client.send(request("/any/x", key=late.key))
        await large.client.send(chunked(large.key))
        await until(lambda: len(upstream.requests) >= 1 and relay.gateway.in_flight == 2)
        change(relay, limits=Limits(request_timeout=50, max_body_size=10))
        change(relay, limits=Limits(request_timeout=60, max_body_size=10))
        # Its body may be what was allowed when it began; what began later may not.
        await large.client.send(b"40\r\n%b\r\n" % (b"x" * 64))
        await small.client.send(chunked(small.key) + b"40\r\n%b\r\n" % (b"x" * 64))
        assert Answer(*await small.client.answer()).status == 413
        # The time too, and what is said of it.
        answer = Answer(*await late.client.answer())
        assert (answer.status, b"0.9 s" in answer.body) == (504, True)
        assert Answer(*await large.client.answer()).status == 504  # and not 413
        go.set()
        assert (await new.ask()).status == 200


async def test_the_lines_of_an_answer_on_its_way_are_those_of_its_own_configuration() -> None:
    go = asyncio.Event()

    async def slow(connection: RecordedConnection, _: bytes) -> None:
        await go.wait()
        await connection.send(OK)

    async with RecordingUpstream(slow) as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        await here.client.send(request("/any/x", b"X-Forwarded-For: 192.0.2.9", key=here.key))
        await until(lambda: upstream.requests)
        [client] = relay.gateway.connections
        peer = client.peer
        change(relay, trusted_proxies=(ip_network("127.0.0.0/8"),))
        assert client.peer is peer
        go.set()
        assert (await here.client.answer())[0] == 200
        assert client.peer is not peer
        assert client.peer.trusted
        assert (await here.ask("/any/x", b"X-Forwarded-For: 192.0.2.9")).status == 200
        assert [line["address"] for line in relay.lines] == ["127.0.0.1", "192.0.2.9"]


async def test_who_waits_in_line_is_decided_by_the_new_rules() -> None:
    go = asyncio.Event()

    async def slow(connection: RecordedConnection, _: bytes) -> None:
        await go.wait()
        await connection.send(OK)

    limits = {"concurrent_requests_per_ip": 1, "over_limit": Waiting(30, 5)}
    async with RecordingUpstream(slow) as upstream, running(upstream.port, limits=limits) as relay:
        first, second, third = [await talk(relay) for _ in range(3)]
        await first.client.send(request("/any/x", key=first.key))
        await until(lambda: upstream.requests)
        await second.client.send(request("/any/x", key=second.key))
        waiting = relay.gateway.waiting
        assert waiting is not None
        await until(lambda: len(waiting) == 1)
        change(relay, limits=Limits(concurrent_requests_per_ip=1))
        assert (await third.ask()).status == 429  # nobody joins a line that is no more
        change(relay, limits=Limits(concurrent_requests_per_ip=1), operations=OPERATIONS[:1])
        relay.gateway.configuration = 7
        go.set()
        assert (await first.client.answer())[0] == 200
        assert (await second.client.answer())[0] == 404
        # Each is logged with the number of the rules that it was admitted, or refused, by.
        await until(lambda: len(relay.lines) == 3)
        numbers = {line["status"]: line["configuration"] for line in relay.lines}
        assert (numbers[200], numbers[404]) == (1, 7)
        assert len(waiting) == 0
        await until(lambda: relay.gateway.slots.taken() == 0)


async def test_what_began_unlogged_ends_unlogged_and_the_other_way() -> None:
    go = asyncio.Event()

    async def slow(connection: RecordedConnection, _: bytes) -> None:
        await go.wait()
        await connection.send(OK)

    async with RecordingUpstream(slow) as upstream, running(upstream.port) as relay:
        logged, unlogged = await talk(relay), await talk(relay)
        await logged.client.send(request("/any/logged", key=logged.key))
        await until(lambda: len(upstream.requests) == 1)
        change(relay, access_log=AccessLog(enabled=False))
        await unlogged.client.send(request("/any/unlogged", key=unlogged.key))
        await until(lambda: len(upstream.requests) == 2)
        change(relay, access_log=AccessLog(enabled=True))
        go.set()
        for each in (logged, unlogged):
            assert (await each.client.answer())[0] == 200
        assert [line["path"] for line in relay.lines] == ["/any/logged"]


async def test_the_log_is_switched() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        await here.ask()
        change(relay, access_log=AccessLog(enabled=False))
        await here.ask()
        assert len(relay.lines) == 1


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_what_cannot_be_made_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        here = await talk(relay)
        before = relay.gateway.settings

        def fail(*_: object) -> None:
            raise OSError("no such certificate")

        monkeypatch.setattr(relay.gateway, "_make", fail)
        with pytest.raises(OSError, match="no such certificate"):
            change(relay, operations=())
        assert relay.gateway.settings is before
        assert (await here.ask()).status == 200
        monkeypatch.undo()
        monkeypatch.setattr(gateway_module, "groups_of", fail)
        with pytest.raises(OSError, match="no such certificate"):
            change(relay, operations=(), upstreams=(Upstream("api", (Server("127.0.0.1", 1),)),))
        assert relay.gateway.settings is before
        assert (await here.ask()).status == 200
