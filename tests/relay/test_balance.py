"""Which server is next, without sockets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Breaker, Server, Upstream
from keystile.relay.balance import (
    ByHash,
    InTurn,
    InTurnWithRoom,
    LeastInFlight,
    class_for,
    needs_counts,
    number_of,
    spread,
)
from keystile.relay.member import NO_POOL, Member
from keystile.relay.upstreams import OneServer
from tests.relay.ground import Asking, Ground, of_the_source

TWO = (Server("a", 80), Server("b", 80))


@pytest.mark.parametrize(
    ("settings", "kind", "counts"),
    [
        ({}, InTurn, False),
        ({"max_in_flight": 5}, InTurnWithRoom, True),
        ({"balance": "least_in_flight"}, LeastInFlight, True),
        ({"balance": "hash_key"}, ByHash, False),
        ({"balance": "hash_address", "max_in_flight": 5}, ByHash, True),
    ],
)
def test_each_way_has_a_class_that_does_no_more_than_it_needs(
    settings: dict[str, Any], kind: type, counts: bool
) -> None:
    assert class_for(Upstream("api", TWO, **settings)) is kind
    assert needs_counts(Upstream("api", TWO, **settings)) is counts


def test_one_server_counts_nothing_unless_something_needs_it() -> None:
    for balance in ("round_robin", "least_in_flight", "hash_key", "hash_address"):
        assert class_for(Upstream("api", TWO[:1], balance=balance)) is OneServer
    assert class_for(Upstream("api", TWO[:1], max_in_flight=1)) is InTurnWithRoom
    assert class_for(Upstream("api", TWO[:1], breaker=Breaker(even_the_last=True))) is InTurn


async def went(ground: Ground, times: int, **how: Any) -> list[str]:
    """Where so many requests went, one after the other."""
    places = []
    for _ in range(times):
        asking = await ground.asked(**how)
        places += asking.to
        asking.answer()
    return places


@of_the_source
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("cap", [None, 5])
async def test_servers_take_turns(count: int, cap: int | None) -> None:
    places = await went(Ground(count, max_in_flight=cap), 3 * count)
    assert sorted(places[:count]) == list("abcd"[:count])
    assert places[count:] == places[:count] * 2


@of_the_source
@pytest.mark.parametrize("cap", [None, 50])
async def test_turns_are_by_weight_and_evenly_spread(cap: int | None) -> None:
    servers = (Server("a", 80, weight=4), Server("b", 80, weight=2), Server("c", 80, weight=1))
    places = await went(Ground(servers, max_in_flight=cap), 70)
    assert Counter(places) == {"a": 40, "b": 20, "c": 10}
    for at in range(60):
        assert 3 <= places[at : at + 7].count("a") <= 5


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_a_round_has_each_by_its_share(weights: list[int]) -> None:
    members = [_member(f"s{at}", weight) for at, weight in enumerate(weights)]
    turns = Counter(member.name for member in spread([(member, member.share(0.0)) for member in members]))
    for member in members:
        assert turns[member.name] / turns.total() == pytest.approx(member.server.weight / sum(weights), rel=0.01)


def test_a_round_is_bounded_and_nobody_is_left_out_of_it() -> None:
    members = [_member(f"s{at}", 100 - at % 2) for at in range(100)]
    turns = spread([(member, member.share(0.0) + 0.013) for member in members])
    assert len(turns) <= 2100
    assert set(turns) == set(members)
    assert spread([]) == []


def _member(name: str, weight: int) -> Member:
    server = Server(name, 80, weight=weight)
    return Member(server, NO_POOL, Upstream("api", (server,)))


@of_the_source
async def test_a_server_that_came_back_gets_a_growing_share() -> None:
    ground = Ground(2, slow_start=10.0)
    ground.members[1].back_since = ground.now
    ground.group.refresh()
    shares = []
    for _ in range(11):
        shares.append((await went(ground, 220)).count("b"))
        ground.pass_time(1.0)
    assert shares[0] <= 25
    assert shares == sorted(shares)
    assert shares[-1] == 110


@of_the_source
async def test_the_one_with_the_least_in_flight_is_next() -> None:
    ground = Ground(3, balance="least_in_flight")
    asking = [await ground.asked() for _ in range(6)]
    assert Counter(one.to[0] for one in asking) == {"a": 2, "b": 2, "c": 2}
    for one in asking:
        if one.to == ["b"]:
            one.answer()
    assert [(await ground.asked()).to for _ in range(2)] == [["b"], ["b"]]


@of_the_source
async def test_the_least_in_flight_is_so_for_its_weight() -> None:
    ground = Ground((Server("a", 80, weight=3), Server("b", 80)), balance="least_in_flight")
    assert Counter([(await ground.asked()).to[0] for _ in range(8)]) == {"a": 6, "b": 2}


@of_the_source
async def test_what_is_being_connected_counts_as_in_flight() -> None:
    ground = Ground(2, balance="least_in_flight")
    for at in (0, 1):
        ground.pool(at).may.clear()
    for _ in range(10):
        ground.ask()
    await ground.settled()
    assert [ground.pool(at).asked for at in (0, 1)] == [5, 5]
    for at in (0, 1):
        ground.pool(at).may.set()
    await ground.settled()


@of_the_source
@pytest.mark.parametrize("balance", ["hash_key", "hash_address"])
async def test_a_name_always_goes_to_the_same_server_and_names_are_spread(balance: str) -> None:
    def by(number: int) -> dict[str, Any]:
        return {"key": f"k{number}"} if balance == "hash_key" else {"address": number.to_bytes(8, "big")}

    ground, other = Ground(4, balance=balance), Ground(4, balance=balance)
    homes = {number: (await went(ground, 1, **by(number)))[0] for number in range(200)}
    assert min(Counter(homes.values()).values()) > 25
    for number, home in homes.items():
        assert await went(other, 2, **by(number)) == [home, home]


@of_the_source
async def test_without_a_key_the_address_is_the_name() -> None:
    ground, by_address = Ground(4, balance="hash_key"), Ground(4, balance="hash_address")
    for number in range(20):
        address = number.to_bytes(8, "big")
        assert await went(ground, 1, key="", address=address) == await went(by_address, 1, address=address)


@of_the_source
async def test_when_a_server_leaves_only_its_own_names_move_and_they_come_back() -> None:
    ground = Ground(4, balance="hash_key")

    async def homes() -> dict[int, str]:
        return {number: (await went(ground, 1, key=f"k{number}"))[0] for number in range(200)}

    before = await homes()
    ground.members[2].checked_down = True
    ground.group.refresh()
    without = await homes()
    assert {number for number in before if before[number] != without[number]} == {
        number for number, home in before.items() if home == "c"
    }
    assert len(set(without.values())) == 3
    ground.members[2].checked_down = False
    ground.group.refresh()
    assert await homes() == before


def test_the_number_of_a_server_for_a_name_is_the_same_for_ever() -> None:
    """Another version of the gateway, or another relay, must not send everybody elsewhere."""
    assert number_of(b"k1", "a:80", 1) == pytest.approx(1.994689363584936)
    assert number_of(b"k1", "a:80", 3) == pytest.approx(3 * 1.994689363584936)


@of_the_source
async def test_weights_count_in_hashing_too() -> None:
    ground = Ground((Server("a", 80, weight=3), Server("b", 80)), balance="hash_key")
    homes = Counter([(await went(ground, 1, key=f"k{number}"))[0] for number in range(400)])
    assert 250 < homes["a"] < 350


@of_the_source
async def test_a_hashed_server_that_is_full_sends_its_names_to_their_second() -> None:
    ground = Ground(3, balance="hash_key", max_in_flight=1)
    first, second, third, fourth = [await ground.asked() for _ in range(4)]
    assert {first.to[0], second.to[0], third.to[0]} == {"a", "b", "c"}
    assert fourth.to == []
    assert len(ground.group.line) == 1
    first.answer()
    await ground.settled()
    assert fourth.to == first.to


@of_the_source
async def test_names_that_are_remembered_are_bounded() -> None:
    ground = Ground(2, balance="hash_address")
    assert isinstance(ground.group, ByHash)
    for number in range(5000):
        ground.group.order(Asking(ground, address=number.to_bytes(8, "big")))  # type: ignore[arg-type]
    assert len(ground.group._orders) <= 4096
