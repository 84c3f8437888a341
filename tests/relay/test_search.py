"""What a request does that finds no connection ready: every way on, and every end."""

from __future__ import annotations

import errno

import pytest

from keystile.config.model import Breaker, Retries
from keystile.limits.descriptors import EXHAUSTED
from keystile.relay.refusal import Refusal
from tests.relay.ground import Ground, of_the_source

pytestmark = of_the_source

#: A breaker that never opens.
NEVER = Breaker(connect_failures=1000, of_at_least=100_000)


async def test_a_server_that_cannot_be_connected_to_is_passed_over_whatever_the_method() -> None:
    ground = Ground(3, breaker=NEVER, retries=Retries(0))
    ground.down(0)
    ground.down(1)
    for method in (b"GET", b"POST", b"PATCH"):
        asking = await ground.asked(method=method, body=True)
        assert asking.to == ["c"]
        asking.answer()


async def test_each_server_is_tried_once_and_the_last_reason_is_told() -> None:
    ground = Ground(3, breaker=NEVER)
    for at in range(3):
        ground.down(at)
    assert (await ground.asked()).refusal is Refusal.UPSTREAM_UNREACHABLE
    assert [ground.pool(at).asked for at in range(3)] == [1, 1, 1]
    for at in range(3):
        ground.pool(at).fails = TimeoutError()
    assert (await ground.asked()).refusal is Refusal.CONNECT_TIMEOUT


@pytest.mark.parametrize("number", sorted(EXHAUSTED))
async def test_what_this_process_has_no_more_of_is_no_fault_of_a_server(number: int) -> None:
    ground = Ground(2, breaker=Breaker(connect_failures=1))
    for at in range(2):
        ground.pool(at).fails = OSError(number, "there is no more")
    for _ in range(10):
        assert (await ground.asked()).refusal is Refusal.OVERLOADED
    assert sum(ground.pool(at).asked for at in range(2)) == 10, "another server needs the same"
    for at in range(2):
        ground.pool(at).fails = None
    asking = await ground.asked()
    assert len(asking.to) == 1, "nobody was left out"


async def test_a_trial_for_which_there_is_nothing_ends_too() -> None:
    ground = Ground(1, breaker=Breaker(connect_failures=1, open_for=0.0))
    ground.down(0)
    await ground.asked()
    ground.pool(0).fails = OSError(errno.EMFILE, "there is no more")
    assert (await ground.asked()).refusal is Refusal.OVERLOADED
    ground.pool(0).fails = None
    asking = await ground.asked()
    assert len(asking.to) == 1


async def test_a_kept_connection_that_was_closed_is_replaced_by_a_new_one_once_and_without_a_budget() -> None:
    ground = Ground(1, retries=Retries(0))
    for _ in range(3):
        kept = await ground.asked()
        kept.answer()
    asking = ground.ask()
    assert asking.upstream is kept.upstream or asking.upstream is not None
    asking.breaks()
    await ground.settled()
    assert asking.to == ["a", "a"]
    assert asking.upstream is not None
    assert not asking.upstream.reused
    assert asking.search is not None
    assert asking.search.sent == 1
    asking.breaks()
    assert asking.refusal is Refusal.UPSTREAM_BROKEN


async def test_a_post_on_a_kept_connection_that_was_closed_is_not_sent_again() -> None:
    ground = Ground(2)
    for _ in range(2):
        (await ground.asked()).answer()
    asking = await ground.asked(method=b"POST", body=True)
    assert asking.upstream is not None
    assert asking.upstream.reused
    asking.breaks(sent=True)
    await ground.settled()
    assert (asking.refusal, len(asking.to)) == (Refusal.UPSTREAM_BROKEN, 1)


async def test_an_idempotent_request_that_got_no_answer_goes_to_another_server() -> None:
    ground = Ground(2)
    for method in (b"GET", b"PUT", b"DELETE"):
        asking = await ground.asked(method=method)
        first = asking.to[0]
        asking.breaks()
        await ground.settled()
        assert asking.to == [first, "a" if first == "b" else "b"]
        asking.leave()
    assert ground.recorder.retried_elsewhere == 3


@pytest.mark.parametrize(
    ("method", "heard", "sent"), [(b"POST", False, False), (b"GET", True, False), (b"PUT", False, True)]
)
async def test_what_may_have_been_done_or_was_answered_or_whose_body_has_left_is_not_sent_again(
    method: bytes, heard: bool, sent: bool
) -> None:
    ground = Ground(3)
    asking = await ground.asked(method=method, body=sent)
    asking.breaks(heard=heard, sent=sent)
    await ground.settled()
    assert (asking.refusal, len(asking.to)) == (Refusal.UPSTREAM_BROKEN, 1)


async def test_a_request_is_sent_again_as_often_as_it_may_and_never_to_the_same_server() -> None:
    ground = Ground(4, retries=Retries(2), breaker=NEVER)
    asking = await ground.asked()
    for _ in range(3):
        asking.breaks()
        await ground.settled()
    assert asking.refusal is Refusal.UPSTREAM_BROKEN
    assert len(asking.to) == len(set(asking.to)) == 3


async def test_without_another_server_nothing_is_sent_again_and_nothing_is_spent() -> None:
    ground = Ground(2, breaker=NEVER)
    ground.members[1].checked_down = True
    ground.group.refresh()
    for _ in range(10):
        asking = await ground.asked()
        asking.breaks()
        assert asking.refusal is Refusal.UPSTREAM_BROKEN
    ground.members[1].checked_down = False
    ground.group.refresh()
    asking = await ground.asked()
    asking.breaks()
    await ground.settled()
    assert len(asking.to) == 2


async def test_retries_stay_within_their_budget() -> None:
    """An outage is not made worse: of 100 requests that all break, 20 are sent again."""
    ground = Ground(4, breaker=NEVER, retries=Retries(1, 0.2))
    again = 0
    for _ in range(100):
        asking = await ground.asked()
        asking.breaks()
        await ground.settled()
        again += len(asking.to) - 1
        asking.leave()
    assert 20 <= again <= 26
    assert ground.recorder.retried_elsewhere == again


async def test_a_client_that_leaves_while_its_request_connects_leaves_a_connection_for_others() -> None:
    ground = Ground(1, max_in_flight=1)
    ground.pool(0).may.clear()
    asking = ground.ask()
    await ground.settled()
    assert ground.members[0].pool.in_flight == 1
    asking.leave()
    ground.pool(0).may.set()
    await ground.settled()
    assert asking.to == []
    assert ground.members[0].pool.in_flight == 0
    other = ground.ask()
    assert other.to == ["a"]
    assert ground.pool(0).asked == 1


async def test_a_client_that_leaves_while_its_request_connects_in_vain_goes_to_no_other_server() -> None:
    ground = Ground(2)
    ground.down(0)
    ground.down(1)
    ground.pool(0).may.clear()
    ground.pool(1).may.clear()
    asking = ground.ask()
    await ground.settled()
    asking.leave()
    ground.pool(0).may.set()
    ground.pool(1).may.set()
    await ground.settled()
    assert ground.pool(0).asked + ground.pool(1).asked == 1
    assert asking.refusal is None
