"""Who is the primary: by what servers say of themselves, and by Sentinels; and fail-overs of real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keystile.cluster.finding import chosen, primary
from keystile.cluster.greeting import Greeter, Unusable
from keystile.config.model import SharedSlots
from tests.cluster.server import Sentinel, Server, needs_server, running
from tests.cluster.test_link import linked
from tests.relay.running import until

ONE, TWO = ("a", 1), ("b", 2)
AT_ONCE = ("--repl-diskless-sync-delay", "0")


def said(replid: str, before: str = "0") -> dict[str, str]:
    return {"role": "master", "master_replid": replid, "master_replid2": before}


def test_one_primary_is_it() -> None:
    assert chosen({ONE: said("x")}) == ONE


def test_one_in_whose_place_another_was_promoted_is_none_any_more() -> None:
    assert chosen({ONE: said("x"), TWO: said("y", "x")}) == TWO
    assert chosen({TWO: said("y", "x"), ONE: said("x")}) == TWO


@pytest.mark.parametrize("masters", [{}, {ONE: said("x"), TWO: said("y")}])
def test_none_and_several_are_no_answer(masters: dict[tuple[str, int], dict[str, str]]) -> None:
    with pytest.raises(Unusable, match="prima"):
        chosen(masters)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A primary, and a replica in step."""
    with ExitStack() as stack:
        one = stack.enter_context(running(_folder(tmp_path, "one"), *AT_ONCE))
        two = stack.enter_context(running(_folder(tmp_path, "two"), "--replicaof", f"127.0.0.1 {one.port}", *AT_ONCE))
        yield one, two


def _folder(path: Path, name: str) -> Path:
    (path / name).mkdir()
    return path / name


@needs_server
async def test_of_several_servers_the_primary_is_found_and_found_again_after_a_fail_over(
    pair: tuple[Server, Server],
) -> None:
    one, two = pair
    await until(lambda: one.followers() == 1)
    settings = SharedSlots("127.0.0.1", two.port, lease_time=1.0, more=(("127.0.0.1", one.port),))
    greeter = Greeter(settings)
    assert await primary(settings, greeter) == ("127.0.0.1", one.port)
    two.follow(None)  # the old one does not know of it, and says still that it is the primary
    assert await primary(settings, greeter) == ("127.0.0.1", two.port)
    one.pause()
    assert await primary(settings, greeter) == ("127.0.0.1", two.port)
    one.go_on()


@needs_server
async def test_an_old_primary_that_nobody_follows_lends_nothing_whether_it_sleeps_or_not(
    pair: tuple[Server, Server],
) -> None:
    """It wakes up as a primary and answers all its clients; those who know no other are refused."""
    one, two = pair
    await until(lambda: one.followers() == 1)
    more = (("127.0.0.1", two.port),)
    async with (
        linked(one.port, more=more, min_replicas=1) as (link, all_sides),
        linked(one.port, min_replicas=1) as (near, old_side),
    ):
        await until(lambda: all_sides.name and old_side.name)
        one.pause()
        await until(lambda: all_sides.slots.unreachable and old_side.slots.unreachable)
        two.follow(None)
        one.go_on()
        await until(lambda: "0 replicas follow it" in str(near.trouble) and "0 replicas" in str(link.trouble))
        assert not all_sides.name
        assert not old_side.name
        one.follow(two)
        await until(lambda: two.followers() == 1)
        await until(lambda: all_sides.name)
        await until(lambda: not link.trouble)
        await until(lambda: "replica" in str(near.trouble))
        assert not old_side.name


@needs_server
async def test_sentinels_say_who_it_is_and_who_it_is_after_a_fail_over(
    tmp_path: Path, pair: tuple[Server, Server]
) -> None:
    one, two = pair
    await until(lambda: one.followers() == 1)
    sentinel = Sentinel(tmp_path, one)
    try:
        await until(lambda: "slave0" in sentinel.say("INFO", "sentinel") or "slaves=1" in sentinel.say("INFO"))
        async with linked(sentinel.port, sentinel="mine") as (link, holder):
            await until(lambda: holder.name)
            one.stop()
            await until(lambda: link.trouble is None and link.connections > 1 and holder.name, 20)
            assert "role:master" in two.say("INFO", "replication")
    finally:
        sentinel.stop()


@needs_server
async def test_a_name_that_no_sentinel_knows_and_sentinels_that_are_away_are_told(
    tmp_path: Path, pair: tuple[Server, Server]
) -> None:
    sentinel = Sentinel(tmp_path, pair[0])
    try:
        settings = SharedSlots("127.0.0.1", sentinel.port, sentinel="theirs")
        with pytest.raises(Unusable, match="theirs"):
            await primary(settings, Greeter(settings))
        sentinel.pause()
        with pytest.raises(TimeoutError):
            await primary(settings, Greeter(settings))
        sentinel.go_on()
    finally:
        sentinel.stop()
    with pytest.raises(OSError, match=r"."):
        await primary(settings, Greeter(settings))
    await asyncio.sleep(0)
