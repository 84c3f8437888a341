"""Addresses of names: looked up beside the loop, kept when that fails."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from keystile.wire.names import AGAIN_AFTER, PUT_LAST_FOR, Addresses


class Directory:
    """Answers look-ups when told to, and counts them; a clock of its own."""

    def __init__(self, *addresses: str) -> None:
        self.answer: list[str] | OSError = list(addresses)
        self.asked = 0
        self.now = 100.0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, host: str) -> list[str]:
        self.asked += 1
        await self.may_answer.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer

    def addresses(self, host: str = "api.internal", every: float = 30.0) -> Addresses:
        return Addresses(host, every, self, lambda: self.now)


@pytest.mark.parametrize("host", ["192.0.2.1", "::1", "2001:db8::1"])
async def test_an_address_is_its_own_and_is_never_looked_up(host: str) -> None:
    directory = Directory()
    addresses = directory.addresses(host)
    assert await addresses.in_turn() == [host]
    directory.now += 1e6
    assert not addresses.due()
    assert directory.asked == 0


async def test_addresses_take_turns() -> None:
    addresses = Directory("a", "b", "c").addresses()
    firsts = [(await addresses.in_turn())[0] for _ in range(6)]
    assert sorted(firsts[:3]) == ["a", "b", "c"]
    assert firsts[3:] == firsts[:3]
    assert sorted(await addresses.in_turn()) == ["a", "b", "c"]


async def test_one_that_failed_comes_last_for_a_while() -> None:
    directory = Directory("a", "b", "c")
    addresses = directory.addresses()
    await addresses.in_turn()
    addresses.failed("b")
    assert [(await addresses.in_turn())[-1] for _ in range(4)] == ["b"] * 4
    directory.now += PUT_LAST_FOR + 1
    assert {(await addresses.in_turn())[0] for _ in range(3)} == {"a", "b", "c"}


async def test_many_who_wait_cause_one_look_up_and_one_who_leaves_spoils_it_for_nobody() -> None:
    directory = Directory("a")
    directory.may_answer.clear()
    addresses = directory.addresses()
    waiting = [asyncio.create_task(addresses.in_turn()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    directory.may_answer.set()
    assert await asyncio.gather(*waiting[1:]) == [["a"]] * 4
    assert directory.asked == 1


async def test_a_name_is_due_again_after_its_time() -> None:
    directory = Directory("a")
    addresses = directory.addresses()
    assert addresses.due()
    await addresses.refresh()
    assert not addresses.due()
    directory.now += 30
    assert addresses.due()


async def test_whether_an_address_has_gone_is_told() -> None:
    directory = Directory("a", "b")
    addresses = directory.addresses()
    assert await addresses.refresh() is False
    directory.answer = ["b", "c", "b"]
    assert await addresses.refresh() is True
    assert addresses.known == ("b", "c")
    directory.answer = ["c", "b", "d"]
    assert await addresses.refresh() is False


async def test_a_failure_keeps_what_is_known_and_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    directory = Directory("a")
    addresses = directory.addresses()
    await addresses.refresh()
    directory.answer = OSError("the directory is down")
    for _ in range(3):
        directory.now += 10
        assert await addresses.refresh() is False
        assert await addresses.in_turn() == ["a"]
    assert len(caplog.messages) == 1
    assert "api.internal cannot be looked up (the directory is down); the addresses that it had are used on" in (
        caplog.text
    )
    directory.answer = []
    await addresses.refresh()
    assert addresses.known == ("a",)


async def test_where_nothing_is_known_a_failure_is_told_to_all_who_wait_and_tried_again_soon() -> None:
    directory = Directory()
    directory.answer = OSError("no such name")
    addresses = directory.addresses()
    told = await asyncio.gather(addresses.in_turn(), addresses.in_turn(), return_exceptions=True)
    assert [str(one) for one in told] == ["no such name"] * 2
    directory.now += AGAIN_AFTER
    assert addresses.due()
    directory.answer = ["a"]
    assert await addresses.in_turn() == ["a"]


async def test_the_real_look_up_finds_this_machine_and_does_not_hold_up_the_loop() -> None:
    addresses = Addresses("localhost", 30.0)
    looking = asyncio.ensure_future(addresses.in_turn())
    began, turns = time.monotonic(), 0
    while not looking.done() and time.monotonic() < began + 20:
        turns += 1
        await asyncio.sleep(0)
    assert set(looking.result()) <= {"127.0.0.1", "::1"}
    assert turns > 0
