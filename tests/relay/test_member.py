from __future__ import annotations

from typing import Any

import pytest

from keystile.config.model import Breaker, HealthCheck, Server, Upstream
from keystile.limits.servers import DOWN, TRIED, UP
from keystile.relay.member import FIRST_SHARE, NO_POOL, Member
from tests.relay.ground import Ground, of_the_source


def member(before: Member | None = None, weight: int = 1, **rules: Any) -> Member:
    server = Server("a", 80, weight=weight)
    return Member(server, NO_POOL, Upstream("api", (server,), **rules), None, before)


def test_one_that_comes_back_gets_a_share_that_grows() -> None:
    one = member(weight=4, slow_start=20.0)
    assert one.share(100.0) == 4
    one.back_since = 100.0
    assert [one.share(100.0 + seconds) for seconds in (0, 1, 5, 10, 15)] == [4 * FIRST_SHARE, 0.4, 1.0, 2.0, 3.0]
    assert one.share(120.0) == 4
    assert one.back_since is None


def test_without_a_slow_start_it_has_its_whole_share_at_once() -> None:
    one = member(weight=4)
    one.back_since = 100.0
    assert one.share(100.0) == 4


def test_what_it_says_to_others_is_the_state_of_its_breaker() -> None:
    one = member()
    assert one.breaker is not None
    assert (one.said, one.usable) == (UP, True)
    one.breaker.open(0.0)
    assert (one.said, one.usable) == (DOWN, False)
    one.breaker.begin_trial(5.0)
    assert (one.said, one.usable) == (TRIED, False)
    assert member(breaker=None).said == UP


def test_one_that_the_checks_found_down_is_not_tried_by_requests() -> None:
    one = member()
    assert one.breaker is not None
    one.breaker.open(0.0)
    assert one.wants_trial(5.0)
    one.checked_down = True
    assert not one.wants_trial(5.0)
    assert not one.usable


def test_what_was_known_of_it_stays_over_a_change_of_other_settings() -> None:
    check = HealthCheck("/health")
    before = member(health_check=check)
    assert before.breaker is not None
    before.asked, before.checked_down = 7, True
    before.breaker.open(0.0)
    after = member(before, weight=3, health_check=check)
    assert (after.asked, after.checked_down, after.breaker) == (7, True, before.breaker)
    assert not member(before).checked_down  # nobody checks it any more
    assert member(before, breaker=None).usable
    other = member(before, breaker=Breaker(connect_failures=1))
    assert other.breaker is not before.breaker
    assert other.usable


@of_the_source
@pytest.mark.parametrize(("cap", "room"), [(None, True), (1, False), (2, True)])
async def test_it_has_room_up_to_its_cap(cap: int | None, room: bool) -> None:
    ground = Ground(1, max_in_flight=cap)
    await ground.asked()
    assert ground.members[0].has_room is room


def test_nobodys_connections_are_none() -> None:
    assert NO_POOL.take() is None
