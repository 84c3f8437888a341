from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.relay.running import Answer, request, running
from tests.wire.peers import RawClient, RecordingUpstream

_LOCAL = ip_address("127.0.0.1")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_health_is_answered_without_a_key_and_without_the_upstream(method: bytes) -> None:
    async with RecordingUpstream() as upstream, running(
        upstream.port, health_path="/healthz", limits={"concurrent_requests_per_ip": 1}
    ) as relay:
        holding = relay.gateway.slots.take(relay.gateway.slots.name_of(_LOCAL, 64), 1)
        assert holding >= 0  # it takes no slot either
        client = await RawClient.connect(relay.port)
        for state in (b"ok", b"keys unavailable", b"ok", b"draining"):
            relay.gateway.follower.unreadable_since = float("-inf") if state == b"keys unavailable" else None
            relay.gateway.draining = state == b"draining"
            await client.send(request("/healthz", method=method))
            answer = Answer(*await client.answer(to_head=method == b"HEAD"))
            assert answer.status == (200 if state == b"ok" else 503)
            assert answer.field(b"Content-Length") == b"%d" % len(b'{"status": "%b"}\n' % state)
            assert answer.body == (b'{"status": "%b"}\n' % state if method == b"GET" else b"")
        assert await client.closed() == b""
        assert upstream.requests == []


async def test_health_is_an_ordinary_path_where_it_is_not_configured() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        assert (await relay.ask("/healthz")).status == 401


async def test_only_get_and_head_of_exactly_that_path_are_health() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, health_path="/healthz") as relay:
        assert (await relay.ask("/healthz/")).status == 401
        assert (await relay.ask("/healthz", method=b"POST")).status == 401
        assert (await relay.ask("/%68ealthz")).status == 401
