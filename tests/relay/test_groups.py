"""From settings to groups: what is there stays, what is new is made, what has gone drains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keystile.config.model import ManagementRoutes, Server, ServerQueue, Settings, Upstream, UpstreamTls
from keystile.relay.balance import InTurn, InTurnWithRoom
from keystile.relay.groups import group_of, groups_of
from keystile.relay.reaching import Reaching
from keystile.relay.refusal import Refusal
from keystile.relay.upstreams import OneServer, UpstreamGroup
from keystile.wire.client_context import ClientContext, client_context
from keystile.wire.pool import Pool, UnixPool
from keystile.wire.upstream_tls import TlsPool
from tests.relay.ground import Asking, of_the_source
from tests.relay.running import settings, until

A, B, C = (Server(name, 80) for name in "abc")


def wanted(**upstream: Any) -> Settings:
    servers = upstream.pop("servers", (A, B))
    return dataclasses.replace(settings(9), upstreams=(Upstream("api", servers, **upstream),))


def groups(made: Settings, before: Mapping[str, UpstreamGroup] | None = None) -> dict[str, UpstreamGroup]:
    return groups_of(made, {}, before or {})


def _counts(pool: Pool) -> bool:
    pool.reserve()
    counts = pool.in_flight == 1
    pool.unreserve()
    return counts


async def test_each_server_gets_the_pool_that_it_needs(tmp_path: Path) -> None:
    def reach() -> ClientContext:
        return client_context()

    servers = (Server("localhost", 0, unix=tmp_path / "s"), A)
    for cap in (None, 3):
        group = group_of(Upstream("api", servers, max_in_flight=cap), 1.0)
        assert [type(member.pool) for member in group.members] == [UnixPool, Pool]
        assert [_counts(member.pool) for member in group.members] == [cap is not None] * 2
    safe, tls = (Server("a", 443, tls=True), Server("b", 443, tls=True)), UpstreamTls(server_name="api.internal")
    for cap in (None, 3):
        group = group_of(Upstream("api", safe, tls=tls, max_in_flight=cap), 1.0, Reaching((), reach))
        pools = [member.pool for member in group.members]
        assert [type(pool) for pool in pools] == [TlsPool, TlsPool]
        assert [_counts(pool) for pool in pools] == [cap is not None] * 2
        assert {pool.server_name for pool in pools if isinstance(pool, TlsPool)} == {"api.internal"}
        assert len({id(pool.context) for pool in pools if isinstance(pool, TlsPool)}) == 1


async def test_a_group_that_is_as_it_was_is_the_same_one() -> None:
    before = groups(wanted())
    assert groups(wanted(), before)["api"] is before["api"]
    assert groups(dataclasses.replace(wanted(), health_path="/healthz"), before)["api"] is before["api"]


async def test_servers_that_stay_keep_their_connections_and_what_is_known_of_them() -> None:
    before = groups(wanted())
    old = before["api"]
    breaker = old.members[1].breaker
    assert breaker is not None
    breaker.open(old._loop.time())
    after = groups(wanted(servers=(B, C), slow_start=10.0), before)["api"]
    b, c = after.members
    assert b.pool is old.members[1].pool
    assert (b.usable, b.back_since) == (False, None)
    assert c.usable
    assert c.back_since is not None  # it has never served: it begins slowly
    old.hand_over_to(after)
    assert [member.pool.closed for member in old.members] == [True, False]
    assert not c.pool.closed


async def test_other_ways_to_reach_a_server_are_other_connections() -> None:
    before = groups(wanted())
    changed = [
        wanted(resolve_every=1.0),
        wanted(max_in_flight=5),
        dataclasses.replace(wanted(), limits=dataclasses.replace(wanted().limits, connect_timeout=1.0)),
    ]
    for made in changed:
        after = groups(made, before)["api"]
        assert not {member.pool for member in after.members} & {member.pool for member in before["api"].members}
    lighter = wanted(servers=(dataclasses.replace(A, weight=7), B))
    after = groups(lighter, before)["api"]
    assert [member.pool for member in after.members] == [member.pool for member in before["api"].members]


async def test_a_certificate_is_read_only_where_a_connection_needs_it() -> None:
    made: list[ClientContext] = []

    def reach() -> ClientContext:
        made.append(client_context())
        return made[-1]

    one, two = Server("a", 443, tls=True), Server("b", 443, tls=True)
    first = group_of(Upstream("api", (one, two)), 1.0, Reaching((b"ca",), reach))
    assert len(made) == 1
    second = group_of(Upstream("api", (two,)), 1.0, Reaching((b"ca",), reach), first)
    assert len(made) == 1
    third = group_of(Upstream("api", (two,)), 1.0, Reaching((b"other ca",), reach), second)
    assert len(made) == 2
    assert third.members[0].pool is not second.members[0].pool


async def test_an_upstream_that_has_gone_closes_all_its_connections() -> None:
    before = groups(wanted())
    before["api"].hand_over_to(None)
    assert all(member.pool.closed for member in before["api"].members)


@of_the_source
async def test_who_waits_for_a_server_waits_for_the_new_ones_from_then_on() -> None:
    before = groups(wanted(servers=(A,), max_in_flight=1, queue=ServerQueue(10, 30.0)))["api"]
    before.members[0].pool.reserve()

    class On:
        """As much of a ``Ground`` as ``Asking`` needs."""

        group = before

    asking = Asking(On(), method=b"GET")  # type: ignore[arg-type]
    asking.forward()
    assert len(before.line) == 1
    after = group_of(Upstream("api", (A,), max_in_flight=1, queue=ServerQueue(10, 0.01)), 5.0, None, before)
    before.hand_over_to(after)
    assert (len(before.line), len(after.line), asking.group) == (0, 1, after)
    assert after.members[0].pool is before.members[0].pool
    asking.leave()
    assert len(after.line) == 0
    assert asking.refusal is None


async def test_the_class_is_chosen_when_a_configuration_is_taken() -> None:
    assert type(groups(wanted())["api"]) is InTurn
    assert type(groups(wanted(servers=(A,)))["api"]) is OneServer
    assert type(groups(wanted(max_in_flight=1))["api"]) is InTurnWithRoom


async def test_the_gateways_own_process_is_reached_as_ever_and_stays(tmp_path: Path) -> None:
    made = dataclasses.replace(wanted(), management_routes=ManagementRoutes(""), store=tmp_path / "k.db")
    before = groups(made)
    own = before["management"]
    assert own.is_management
    assert own.host_field == b"management"
    assert type(own.members[0].pool) is UnixPool
    assert own.members[0].breaker is None
    assert groups(dataclasses.replace(made, upstreams=()), before)["management"] is own


@of_the_source
async def test_nobody_waits_for_room_at_a_server_that_has_gone() -> None:
    """The upstream itself is no more: who waited for it gets its answer from the servers that it had."""
    before = groups(wanted(servers=(A,), max_in_flight=1, queue=ServerQueue(10, 0.01)))["api"]
    before.members[0].pool.reserve()

    class On:
        group = before

    asking = Asking(On())  # type: ignore[arg-type]
    asking.forward()
    before.hand_over_to(None)
    await until(lambda: asking.refusal is Refusal.SERVERS_BUSY)
