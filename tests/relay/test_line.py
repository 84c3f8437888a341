"""Requests that wait for a server with room: bounded, in order, and never lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from keystile.config.model import Retries, ServerQueue
from keystile.relay.refusal import Refusal
from tests.relay.ground import Asking, Ground, of_the_source
from tests.relay.running import until

pytestmark = of_the_source

SLOW = ServerQueue(size=100, wait_up_to=30.0)


async def test_no_server_ever_has_more_in_flight_than_it_may_and_all_are_served_in_order() -> None:
    ground = Ground(2, max_in_flight=3, queue=SLOW)
    asking = [ground.ask() for _ in range(20)]
    await ground.settled()
    assert Counter(one.to[0] for one in asking if one.to) == {"a": 3, "b": 3}
    assert len(ground.group.line) == 14
    served = [one for one in asking if one.to]
    while served:
        served.pop(0).answer()
        await ground.settled()
        assert all(member.pool.in_flight <= 3 for member in ground.members)
        waiting = [asking.index(one) for one in asking if not one.to]
        assert waiting == list(range(20 - len(waiting), 20))  # from the front
        served += [one for one in asking if one.upstream is not None and one not in served]
    assert len(ground.group.line) == 0
    assert all(one.refusal is None and len(one.to) == 1 for one in asking)


async def test_newcomers_stand_behind_those_who_wait() -> None:
    ground = Ground(1, max_in_flight=1, queue=SLOW)
    first, second = await ground.asked(), ground.ask()
    first.answer()
    third = ground.ask()  # there is room, but it is not theirs
    await ground.settled()
    assert (second.to, third.to) == (["a"], [])
    second.answer()
    await ground.settled()
    assert third.to == ["a"]


async def test_more_than_may_wait_are_refused_at_once() -> None:
    ground = Ground(1, max_in_flight=1, queue=ServerQueue(2, 30.0))
    asking = [await ground.asked() for _ in range(5)]
    assert [one.refusal for one in asking] == [None, None, None, Refusal.SERVERS_BUSY, Refusal.SERVERS_BUSY]
    nobody = Ground(1, max_in_flight=1, queue=ServerQueue(0, 30.0))
    await nobody.asked()
    assert (await nobody.asked()).refusal is Refusal.SERVERS_BUSY


async def test_who_waited_long_enough_is_refused_and_leaves_its_place() -> None:
    ground = Ground(1, max_in_flight=1, queue=ServerQueue(2, 0.02))
    held = await ground.asked()
    waiting = [ground.ask(), ground.ask()]
    await until(lambda: all(one.refusal is Refusal.SERVERS_BUSY for one in waiting))
    assert len(ground.group.line) == 0
    later = ground.ask()
    held.answer()
    await ground.settled()
    assert later.to == ["a"]


async def test_who_leaves_while_waiting_leaves_its_place_to_others() -> None:
    ground = Ground(1, max_in_flight=1, queue=ServerQueue(2, 30.0))
    held = await ground.asked()
    first, second = ground.ask(), ground.ask()
    first.leave()
    third = ground.ask()
    assert third.refusal is None
    held.answer()
    await ground.settled()
    assert (first.to, second.to, third.to) == ([], ["a"], [])


async def test_when_no_server_is_left_those_who_wait_are_told_at_once() -> None:
    ground = Ground(2, max_in_flight=1, queue=SLOW)
    for _ in range(2):
        await ground.asked()
    waiting = [ground.ask() for _ in range(3)]
    for member in ground.members:
        member.checked_down = True
    ground.group.refresh()
    await ground.settled()
    assert [one.refusal for one in waiting] == [Refusal.NO_SERVER] * 3


async def test_a_server_that_comes_back_takes_those_who_wait() -> None:
    ground = Ground(2, max_in_flight=1, queue=SLOW)
    ground.members[1].checked_down = True
    ground.group.refresh()
    await ground.asked()
    waiting = ground.ask()
    ground.members[1].checked_down = False
    ground.group.refresh()
    await ground.settled()
    assert waiting.to == ["b"]


async def test_what_is_sent_again_waits_like_others() -> None:
    ground = Ground(2, max_in_flight=1, queue=SLOW)
    one, other = await ground.asked(), await ground.asked()
    one.breaks()
    await ground.settled()
    assert one.refusal is Refusal.UPSTREAM_BROKEN  # nowhere else is room: then it is told, rather than kept
    other.answer()


async def test_whatever_happens_no_place_is_lost_and_no_server_has_more_than_it_may() -> None:
    dice = random.Random(5)
    ground = Ground(3, max_in_flight=2, queue=ServerQueue(5, 30.0), retries=Retries(2, 1.0), breaker=None)
    asking: list[Asking] = []
    for _ in range(2000):
        living = [one for one in asking if not one.ended]
        match dice.randrange(7):
            case 0 | 1 | 2:
                asking.append(ground.ask(method=dice.choice([b"GET", b"POST"])))
            case 3 if living:
                dice.choice(living).leave()
            case 4 if sent := [one for one in living if one.upstream is not None]:
                dice.choice(sent).answer(dice.choice([200, 500]))
            case 5 if sent := [one for one in living if one.upstream is not None]:
                dice.choice(sent).breaks(heard=dice.random() < 0.5)
            case 6:
                at = dice.randrange(3)
                if dice.random() < 0.5:
                    ground.down(at)
                else:
                    ground.up(at)
        await asyncio.sleep(0)
        assert all(member.pool.in_flight <= 2 for member in ground.members)
        assert len(ground.group.line) <= 5
    for one in asking:
        if not one.ended:
            one.leave()
    await ground.settled()
    assert [member.pool.in_flight for member in ground.members] == [0, 0, 0]
    assert len(ground.group.line) == 0
    assert not ground.tasks
