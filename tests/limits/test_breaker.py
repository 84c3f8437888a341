from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Breaker as Rules
from keystile.limits.breaker import LONGEST, PARTS, Breaker, State

RULES = Rules(connect_failures=3, errors=0.5, of_at_least=10, within=10.0, open_for=5.0)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(RULES)
    breaker.open(now)
    return breaker


def test_connections_that_fail_in_a_row_open_it() -> None:
    breaker = Breaker(RULES)
    assert [breaker.connect_failed(0.0) for _ in range(3)] == [False, False, True]
    assert breaker.state is State.OPEN
    assert not breaker.connect_failed(0.1)
    assert breaker.opened == 1


def test_one_connection_in_between_begins_the_row_anew() -> None:
    breaker = Breaker(RULES)
    for _ in range(10):
        breaker.connect_failed(0.0)
        breaker.connect_failed(0.0)
        breaker.connected()
    assert breaker.state is State.CLOSED


def test_a_share_of_errors_is_too_many_only_of_enough_requests() -> None:
    breaker = Breaker(RULES)
    for _ in range(9):
        breaker.error()
    assert not breaker.too_many(1.0, 9)
    assert breaker.too_many(1.0, 10)
    assert breaker.too_many(1.0, 18)
    assert not breaker.too_many(1.0, 19)


def test_errors_of_long_ago_count_no_more() -> None:
    breaker = Breaker(RULES)
    for _ in range(9):
        breaker.error()
    asked = 9
    for second in range(1, 30):
        breaker.look(float(second), asked)
        asked += 1
        if second > 11:
            assert not breaker.too_many(float(second), asked)
    breaker.error()
    assert not breaker.too_many(30.0, asked)


def test_a_long_time_takes_no_more_memory_than_a_short_one() -> None:
    breaker = Breaker(Rules(within=86400.0))
    for second in range(0, 200_000, 7):
        breaker.look(float(second), second)
    assert len(breaker._window) <= PARTS + 2


def test_what_a_server_was_asked_before_its_breaker_was_made_does_not_dilute_its_errors() -> None:
    breaker = Breaker(RULES, asked=1000)
    for _ in range(10):
        breaker.error()
    assert breaker.too_many(0.0, 1010)


def test_it_is_tried_when_its_time_is_over_by_one_request_at_a_time() -> None:
    breaker = opened()
    assert not breaker.wants_trial(4.9)
    assert breaker.wants_trial(5.0)
    breaker.begin_trial(5.0)
    assert breaker.state is State.TRIED
    assert not breaker.wants_trial(5.1)


def test_a_trial_that_goes_well_closes_it_and_forgets_what_was() -> None:
    breaker = opened()
    for _ in range(100):
        breaker.error()
    breaker.begin_trial(5.0)
    breaker.end_trial(5.1, 100, well=True)
    assert breaker.state is State.CLOSED
    assert not breaker.too_many(5.2, 120)
    assert [breaker.connect_failed(6.0) for _ in range(3)] == [False, False, True]
    assert breaker.wants_trial(11.0)


def test_each_trial_that_fails_doubles_the_time_up_to_a_bound() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(7):
        waits.append(breaker.stays_open_for)
        assert not breaker.wants_trial(now + breaker.stays_open_for - 0.01)
        now += breaker.stays_open_for
        assert breaker.wants_trial(now)
        breaker.begin_trial(now)
        breaker.end_trial(now, 0, well=False)
    assert waits == [5.0, 10.0, 20.0, 40.0, 5.0 * LONGEST, 5.0 * LONGEST, 5.0 * LONGEST]
    assert breaker.opened == 1


def test_a_trial_that_nobody_ends_is_over_by_itself() -> None:
    breaker = opened()
    breaker.begin_trial(5.0)
    assert breaker.wants_trial(10.0)
    breaker.begin_trial(10.0)
    breaker.end_trial(10.1, 0, well=True)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("well", [True, False])
def test_the_end_of_an_old_trial_says_nothing_of_a_closed_one(well: bool) -> None:
    breaker = opened()
    breaker.begin_trial(5.0)
    breaker.close(6.0, 0)
    assert breaker.end_trial(7.0, 0, well=well) is False
    assert breaker.state is State.CLOSED


@given(
    st.lists(
        st.tuples(st.sampled_from(["fail", "connect", "error", "good", "look", "try", "well", "ill"]), st.floats(0, 3)),
        max_size=60,
    )
)
def test_whatever_happens_an_open_one_is_tried_within_its_longest_time(steps: list[tuple[str, float]]) -> None:
    breaker, now, asked = Breaker(RULES), 0.0, 0
    for what, seconds in steps:
        now += seconds
        match what:
            case "fail":
                breaker.connect_failed(now)
            case "connect":
                breaker.connected()
            case "error":
                asked += 1
                breaker.error()
                if breaker.too_many(now, asked):
                    breaker.open(now)
            case "good":
                asked += 1
            case "look":
                breaker.look(now, asked)
            case "try" if breaker.wants_trial(now):
                breaker.begin_trial(now)
            case "well" | "ill" if breaker.state is State.TRIED:
                breaker.end_trial(now, asked, well=what == "well")
        if breaker.state is not State.CLOSED:
            assert breaker.wants_trial(now + RULES.open_for * LONGEST)
