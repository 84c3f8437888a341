from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.process.memory import MOST_COUNTERS, CounterPages

NAMES = ("requests", "connections")
GAUGES = {"connections"}


@pytest.fixture
def pages() -> Iterator[CounterPages]:
    pages = CounterPages.create(relays=2)
    yield pages
    pages.close()


def test_counters_are_summed_over_relays_and_seen_by_whoever_attaches(pages: CounterPages) -> None:
    other = CounterPages.attach(os.dup(pages.fd))
    pages.page(1).store([5, 2])
    pages.page(2).store([7, 1])
    assert other.totals(NAMES, GAUGES) == {"requests": 12, "connections": 3}
    other.close()


def test_a_dead_relays_counters_go_on_counting_its_gauges_do_not(pages: CounterPages) -> None:
    pages.page(1).store([5, 2])
    pages.page(1).open()
    pages.fold(1)
    pages.page(2).store([7, 1])
    assert pages.totals(NAMES, GAUGES) == {"requests": 12, "connections": 1}
    assert pages.relays() == []


def test_relays_that_are_up_are_known_with_their_last_sign_of_life(pages: CounterPages) -> None:
    pages.page(2).open()
    [relay] = pages.relays()
    assert relay.pid == os.getpid()
    assert 0 <= relay.silent_for < 5


def test_dropped_messages_and_restarts_are_counted_over_deaths(pages: CounterPages) -> None:
    pages.page(1).beat(dropped=3)
    pages.fold(1)
    pages.page(1).beat(dropped=2)
    pages.add_restart()
    assert (pages.dropped(), pages.restarts) == (5, 1)


def test_what_management_counts_goes_on_over_its_death_and_is_no_relays(pages: CounterPages) -> None:
    assert pages.tally().kept(("a", "b")) == {"a": 0, "b": 0}
    pages.tally().keep([4, 5])
    other = CounterPages.attach(os.dup(pages.fd))
    assert other.tally().kept(("a", "b")) == {"a": 4, "b": 5}
    assert other.totals(NAMES) == {"requests": 0, "connections": 0}
    assert (other.relays(), other.dropped(), other.restarts) == ([], 0, 0)
    other.close()


def test_more_counters_than_fit_and_pages_that_are_not_there_are_refused(pages: CounterPages) -> None:
    pages.page(1).store([1] * MOST_COUNTERS)
    with pytest.raises(ValueError, match="do not fit"):
        pages.page(1).store([1] * (MOST_COUNTERS + 1))
    for number in (0, 3):
        with pytest.raises(ValueError, match="no page"):
            pages.page(number)


@given(st.lists(st.tuples(st.integers(1, 2), st.sampled_from(["count", "die"]))))
def test_sums_never_go_back(steps: list[tuple[int, str]]) -> None:
    pages = CounterPages.create(relays=2)
    counts = {1: 0, 2: 0}
    expected = 0
    for relay, step in steps:
        if step == "count":
            counts[relay] += 1
            expected += 1
            pages.page(relay).store([counts[relay]])
        else:
            counts[relay] = 0
            pages.fold(relay)
        assert pages.totals(["requests"])["requests"] == expected
    pages.close()
