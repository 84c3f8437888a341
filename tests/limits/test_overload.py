"""The rules of overload, on a clock of the test's own: both sides of every edge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.limits import overload
from keystile.limits.overload import Level, Overload

MAX = 0.05
LONG, SHORT = 0.06, 0.001
MEMORY = 1_000_000_000


class Watched:
    """With a clock: ``look_on`` goes on with looks at turns of this length, each all work, for so long."""

    def __init__(self, max_lag: float | None = MAX, max_memory: int | None = None) -> None:
        self.rules = Overload(max_lag, max_memory)
        self.now = 1000.0
        self.ended = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rules, name)

    @property
    def level(self) -> Level:
        return self.rules.level

    def look_on(self, lag: float, seconds: float, *, owing: bool = False, used: float = 1.0) -> Level:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += max(lag, 0.01)
            self.ended += 10
            self.look(lag, lag * used, self.now, self.ended, owing=owing)
        return self.level

    def shed(self) -> Watched:
        """Brought to ``SHEDDING``, step by step."""
        while self.level < Level.SHEDDING:
            self.look_on(LONG, LONG)
        return self

    def turn(self, *in_flight: int) -> list[bool]:
        """Who is admitted of a turn in which addresses with so many in flight ask, one after the other."""
        admitted = [self.admits(count) for count in in_flight]
        self.turn_over()
        return admitted


# -- rising ----------------------------------------------------------------------------------------------


def test_long_turns_that_stand_raise_it_a_level_at_a_time() -> None:
    rules = Watched()
    assert rules.look_on(LONG, 3 * LONG) == Level.CALM, "three turns, 0.18 s: not for long enough"
    assert rules.look_on(LONG, LONG) == Level.NO_NEWCOMERS
    assert rules.look_on(LONG, 3 * LONG) == Level.NO_NEWCOMERS
    assert rules.look_on(LONG, LONG) == Level.SHEDDING
    assert rules.look_on(LONG, 1) == Level.SHEDDING


def test_a_turn_as_long_as_allowed_is_not_too_long() -> None:
    rules = Watched()
    assert rules.look_on(MAX, 10) == Level.CALM
    assert not rules.is_long
    rules.look_on(MAX + 1e-6, MAX)
    assert rules.is_long


def test_one_short_turn_between_long_ones_says_that_no_queue_stands() -> None:
    rules = Watched()
    for _ in range(50):
        rules.look_on(LONG, 3 * LONG)
        assert rules.look_on(SHORT, 0.01) == Level.CALM


def test_a_single_turn_says_nothing_however_long() -> None:
    rules = Watched()
    assert rules.look_on(5.0, 5.0) == Level.CALM
    assert rules.look_on(SHORT, 1) == Level.CALM


def test_two_very_long_turns_raise_it_to_the_top_at_once() -> None:
    rules = Watched()
    very_long = overload.FAR * MAX + 0.001
    assert rules.look_on(very_long, very_long) == Level.CALM
    assert rules.look_on(very_long, very_long) == Level.SHEDDING


def test_turns_not_quite_as_long_raise_it_by_one() -> None:
    rules = Watched()
    assert rules.look_on(overload.FAR * MAX, 2 * overload.FAR * MAX) == Level.CALM
    assert rules.look_on(overload.FAR * MAX, overload.FAR * MAX) == Level.NO_NEWCOMERS


@pytest.mark.parametrize(("used", "level"), [(0.02, Level.CALM), (0.021, Level.SHEDDING)])
def test_turns_in_which_the_process_did_not_run_are_no_load(used: float, level: Level) -> None:
    assert Watched().look_on(1.0, 10, used=used) == level


def test_without_a_bound_nothing_ever_happens() -> None:
    rules = Watched(None)
    assert rules.look_on(5.0, 100) == Level.CALM
    rules.weigh(1 << 50)
    assert rules.level == Level.CALM


# -- falling ---------------------------------------------------------------------------------------------


def test_it_falls_a_level_after_each_quiet_time() -> None:
    rules = Watched().shed()
    at = rules.now
    while rules.level == Level.SHEDDING:
        rules.look_on(SHORT, 0.01)
    assert rules.now - at == pytest.approx(overload.QUIET, abs=0.02)
    at = rules.now
    while rules.level:
        rules.look_on(SHORT, 0.01)
    assert rules.now - at == pytest.approx(overload.QUIET, abs=0.02)


def test_between_the_bounds_it_stays() -> None:
    rules = Watched().shed()
    assert rules.look_on(MAX * 0.51, 20) == Level.SHEDDING
    assert rules.look_on(MAX * 0.49, 1) < Level.SHEDDING


def test_it_does_not_fall_while_requests_are_refused() -> None:
    rules = Watched().shed()
    for _ in range(20):
        rules.turn(*[0] * 1000)
        assert rules.look_on(SHORT, 0.5) == Level.SHEDDING


def test_refused_connections_keep_the_first_level_and_not_the_second() -> None:
    rules = Watched().shed()
    for _ in range(20):
        rules.turned_away(rules.now)
        rules.look_on(SHORT, 0.5)
    assert rules.level == Level.NO_NEWCOMERS


def test_it_does_not_fall_while_somebody_who_was_refused_waits() -> None:
    rules = Watched().shed()
    assert rules.look_on(SHORT, 20, owing=True) == Level.SHEDDING
    assert rules.look_on(SHORT, 0.02) == Level.NO_NEWCOMERS


# -- who has to go ---------------------------------------------------------------------------------------


def test_while_new_connections_are_refused_requests_are_not() -> None:
    rules = Watched()
    while not rules.level:
        rules.look_on(LONG, LONG)
    assert all(rules.turn(*range(100)))


def test_a_turn_begins_so_many_requests_as_come_to_its_target() -> None:
    rules = Watched().shed()
    admitted = sum(rules.turn(*[0] * 10_000))
    pace = 10 / LONG
    assert admitted == pytest.approx(max(overload.LEAST_BUDGET, pace * MAX * overload.TARGET), abs=1)


def test_the_next_turn_begins_anew() -> None:
    rules = Watched().shed()
    assert rules.turn(*[0] * 100) == rules.turn(*[0] * 100)
    assert rules.begins_turn()


def test_who_has_most_in_flight_goes_first_and_who_has_none_last() -> None:
    rules = Watched().shed()
    for _ in range(50):  # short turns that were full: the budget grows
        rules.turn(*[0] * 500)
        rules.look_on(SHORT, 0.01)
    room = sum(rules.turn(*[0] * 500))
    assert room > 100
    order = [rules.turn(*[0] * used, 10)[-1] for used in range(0, room, 5)]
    others = [rules.turn(*[0] * used, 3)[-1] for used in range(0, room, 5)]
    assert order[0]
    assert others[0]
    assert sum(order) < sum(others) < len(others), "the greedier one is refused after fewer requests of others"
    assert all(rules.turn(*[0] * (room - 1), 0))


@given(st.lists(st.integers(0, 50), max_size=60))
def test_within_a_turn_who_has_fewer_is_never_refused_after_one_who_has_more_is_admitted(others: list[int]) -> None:
    rules = Watched().shed()
    rules.turn(*others)
    rules.look_on(SHORT, 0.01)
    for in_flight in others:
        if rules.admits(in_flight):
            rules.rules._admitted -= 1
            assert rules.admits(max(0, in_flight - 1))


def test_the_budget_shrinks_while_turns_are_long_and_never_to_nothing() -> None:
    rules = Watched().shed()
    for _ in range(40):
        rules.turn(*[0] * 100)
        rules.look_on(SHORT, 0.01)
    room = sum(rules.turn(*[0] * 10_000))
    rules.look_on(LONG, 5 * LONG)
    assert sum(rules.turn(*[0] * 10_000)) < room
    rules.look_on(LONG, 100)
    assert sum(rules.turn(*[0] * 10_000)) == overload.LEAST_BUDGET


def test_newcomers_come_in_by_and_by_while_there_is_room_and_none_while_requests_are_refused() -> None:
    rules = Watched()
    while not rules.level:
        rules.look_on(LONG, LONG)
    assert rules.newcomers() == 0
    rules.look_on(SHORT, 0.3)
    assert 0 < rules.newcomers() < overload.MOST_AT_ONCE
    assert rules.shed().newcomers() == 0
    rules.look_on(SHORT, 0.5)
    assert rules.newcomers() == 0


def test_those_who_did_not_wait_return_by_and_by_while_there_is_room() -> None:
    rules = Watched().shed()
    assert rules.returners() == 0
    rules.look_on(SHORT, 0.3, owing=True)
    some = rules.returners()
    assert some > 0
    rules.turn(*[0] * 10_000)
    rules.look_on(SHORT, 0.01, owing=True)
    assert rules.returners() <= some / 2 + 1


# -- memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "level"),
    [(0.849, Level.CALM), (0.85, Level.NO_NEWCOMERS), (0.949, Level.NO_NEWCOMERS), (0.95, Level.SHEDDING)],
)
def test_memory_near_its_bound_raises_it(part: float, level: Level) -> None:
    rules = Watched(None, MEMORY)
    rules.weigh(int(part * MEMORY))
    assert rules.level == level
    assert rules.is_by_memory == bool(level)
    assert rules.newcomers() == 0


def test_memory_must_fall_some_way_before_it_is_over() -> None:
    rules = Watched(None, MEMORY)
    levels = []
    for part in (0.96, 0.905, 0.895, 0.805, 0.795):
        rules.weigh(int(part * MEMORY))
        levels.append(rules.level)
    assert levels == [Level.SHEDDING, Level.SHEDDING, Level.NO_NEWCOMERS, Level.NO_NEWCOMERS, Level.CALM]


def test_with_memory_at_its_end_an_address_has_one_request_in_flight() -> None:
    rules = Watched(MAX, MEMORY)
    rules.weigh(MEMORY)
    assert rules.turn(0, 1, 20, 0) == [True, False, False, True]
    assert rules.returners() == 0


def test_the_higher_level_counts() -> None:
    rules = Watched(MAX, MEMORY).shed()
    rules.weigh(int(0.9 * MEMORY))
    assert rules.level == Level.SHEDDING
    assert not rules.is_by_memory
