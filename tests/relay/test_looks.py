from __future__ import annotations

import asyncio
import socket

from keystile.config.model import HealthCheck, Listener, Server, Upstream
from keystile.limits.servers import DOWN, UP, Pages, ServerTable
from keystile.wire.names import Addresses
from tests.relay.running import request, running, until
from tests.relay.test_gateway import Paced
from tests.wire.peers import RawClient, RecordingUpstream


async def test_a_relay_hears_the_checks_of_its_own_configuration_and_says_what_it_has_seen() -> None:
    table = ServerTable.create(relays=1)
    check = HealthCheck("/health", interval=60.0)
    async with RecordingUpstream() as one, RecordingUpstream() as other:
        servers = tuple(Server("127.0.0.1", each.port) for each in (one, other))
        upstreams = (Upstream("unchecked", servers), Upstream("api", servers, health_check=check))
        async with running(0, upstreams=upstreams) as relay:
            gateway = relay.gateway
            gateway.servers = Pages(table.page(0), table.page(1))
            table.page(0).write(2, bytes([DOWN] * 4))  # another configuration's
            gateway.looks.servers(gateway.loop.time())
            assert [len(gateway.upstreams[name].usable) for name in ("unchecked", "api")] == [2, 2]
            table.page(0).write(1, bytes([DOWN, DOWN, UP, DOWN]))
            gateway.looks.servers(gateway.loop.time())
            assert [len(gateway.upstreams[name].usable) for name in ("unchecked", "api")] == [2, 1]
            for _ in range(6):
                assert (await relay.ask("/open")).status == 200
            assert (len(one.requests), len(other.requests)) == (6, 0)
            assert table.relays(1) == [bytes([UP] * 4)]  # it has seen nothing wrong itself
            breaker = gateway.upstreams["unchecked"].members[1].breaker
            assert breaker is not None
            breaker.open(gateway.loop.time())
            gateway.looks.servers(gateway.loop.time())
            assert table.relays(1) == [bytes([UP, DOWN, UP, UP])]


async def test_names_of_servers_are_looked_up_again_beside_requests() -> None:
    asked: list[str] = []

    async def look_up(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with RecordingUpstream() as upstream:
        api = Upstream("api", (Server("api.internal", upstream.port),), resolve_every=30.0)
        async with running(0, upstreams=(api,)) as relay:
            now = [100.0]
            pool = relay.gateway.upstreams["api"].members[0].pool
            pool.addresses = Addresses("api.internal", 30.0, look_up, lambda: now[0])
            for seconds, times in ((0, 1), (29, 1), (1, 2), (5, 2)):
                now[0] += seconds
                relay.gateway.looks.servers(relay.gateway.loop.time())
                await asyncio.sleep(0.01)
                assert len(asked) == times
            assert (await relay.ask("/open")).status == 200


async def test_requests_in_flight_are_known_by_the_listener_that_they_came_by() -> None:
    paced = Paced()
    async with paced.server as upstream, running(upstream.port) as relay:
        first, second = relay.gateway.settings.listeners[0], Listener("127.0.0.1", 1)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setblocking(False)
            await relay.listen(sock.dup(), second)
            clients = [await RawClient.connect(port) for port in (relay.port, *[sock.getsockname()[1]] * 2)]
            for client in clients:
                await client.send(request("/open"))
            idle = await RawClient.connect(relay.port)
            await until(lambda: relay.gateway.in_flight == 3)
            relay.gateway.looks.clients()
            assert relay.gateway.settings.listeners == (first, second)
            assert relay.gateway.recorder.in_flight_at[:3] == [1, 2, 0]
            for client in (*clients, idle):
                client.reset()
            await until(lambda: relay.gateway.in_flight == 0)
            relay.gateway.looks.clients()
            assert sum(relay.gateway.recorder.in_flight_at) == 0
