from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.process import memory
from keystile.process.memory import MOST_COUNTERS, MOST_NAMES, CounterPages

NAMES = ("requests", "connections")
ONE = ("requests",)
GAUGES = {"connections"}


@pytest.fixture
def pages() -> Iterator[CounterPages]:
    pages = CounterPages.create(relays=2)
    yield pages
    pages.close()


def test_counters_are_summed_over_relays_and_seen_by_whoever_attaches(pages: CounterPages) -> None:
    other = CounterPages.attach(os.dup(pages.fd))
    pages.page(1).store(NAMES, [5, 2])
    pages.page(2).store(NAMES, [7, 1])
    assert other.totals(NAMES, GAUGES) == {"requests": 12, "connections": 3}
    other.close()


def test_a_dead_relays_counters_go_on_counting_its_gauges_do_not(pages: CounterPages) -> None:
    pages.page(1).store(NAMES, [5, 2])
    pages.page(1).open()
    pages.fold(1)
    pages.page(2).store(NAMES, [7, 1])
    assert pages.totals(NAMES, GAUGES) == {"requests": 12, "connections": 1}
    assert pages.relays() == []


def test_relays_of_two_versions_are_summed_by_the_names_that_they_use(pages: CounterPages) -> None:
    pages.page(1).store(("requests", "given_up", "connections"), [5, 4, 2])
    pages.page(2).store(("connections", "new", "requests"), [1, 3, 7])
    for _ in range(2):
        assert pages.totals(("new", *NAMES, "later"), GAUGES)["requests"] == 12
        pages.fold(1)
    assert pages.totals(("new", *NAMES, "later"), GAUGES) == {"new": 3, "requests": 12, "connections": 1, "later": 0}
    assert pages.totals(["given_up"]) == {"given_up": 4}  # kept for a version that knows it
    pages.fold(2)
    pages.page(1).store(NAMES, [1, 1])
    assert pages.totals(("new", "given_up", "requests")) == {"new": 3, "given_up": 4, "requests": 13}


def test_the_next_process_may_count_otherwise_in_the_page_of_one_that_has_died(pages: CounterPages) -> None:
    pages.page(1).store(("a", "b", "c"), [1, 2, 3])
    pages.fold(1)
    pages.page(1).store(("c", "d"), [10, 20])
    assert pages.totals(("a", "b", "c", "d")) == {"a": 1, "b": 2, "c": 13, "d": 20}


def test_where_the_base_page_has_no_room_for_more_names_the_others_are_added_all_the_same(pages: CounterPages) -> None:
    full = [f"n{number}" for number in range(MOST_COUNTERS)]
    pages.page(1).store(full, [1] * MOST_COUNTERS)
    pages.fold(1)
    pages.page(1).store(("x", "n7"), [5, 5])
    pages.fold(1)
    assert pages.totals(("x", "n7")) == {"x": 0, "n7": 6}


def test_the_highest_of_a_gauge_is_that_of_one_living_relay(pages: CounterPages) -> None:
    assert pages.highest("lag") == 0
    pages.page(1).store(("lag",), [5])
    pages.page(2).store(("other", "lag"), [9, 3])
    assert pages.highest("lag") == 5
    pages.fold(1)
    assert pages.highest("lag") == 3


def test_what_management_has_kept_is_known_by_name_to_a_later_version(pages: CounterPages) -> None:
    pages.tally().keep(("a", "b"), [4, 5])
    assert pages.tally().kept(("b", "c", "a")) == {"b": 5, "c": 0, "a": 4}


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
    pages.tally().keep(("a", "b"), [4, 5])
    other = CounterPages.attach(os.dup(pages.fd))
    assert other.tally().kept(("a", "b")) == {"a": 4, "b": 5}
    assert other.totals(NAMES) == {"requests": 0, "connections": 0}
    assert (other.relays(), other.dropped(), other.restarts) == ([], 0, 0)
    other.close()


def test_more_counters_than_fit_and_pages_that_are_not_there_are_refused(pages: CounterPages) -> None:
    names = [f"n{number}" for number in range(MOST_COUNTERS + 1)]
    pages.page(1).store(names[:-1], [1] * MOST_COUNTERS)
    for too_many in (names, ["x" * MOST_NAMES + "x"]):
        with pytest.raises(ValueError, match="do not fit"):
            pages.page(2).store(too_many, [1] * len(too_many))
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
            pages.page(relay).store(ONE, [counts[relay]])
        else:
            counts[relay] = 0
            pages.fold(relay)
        assert pages.totals(ONE)["requests"] == expected
    pages.close()


# -- the ledger ------------------------------------------------------------------------------------------------


def test_what_was_written_last_is_read_by_whoever_has_the_pages(pages: CounterPages) -> None:
    other = CounterPages.attach(os.dup(pages.fd))
    assert other.ledger().read() == b""
    for data in (b"one", b"two, which is longer", b"", b"four"):
        pages.ledger().write(data)
        assert other.ledger().read() == pages.ledger().read() == data
    other.close()


@pytest.mark.parametrize("at", [0, 8, 16, 20, 22])
def test_a_writing_that_was_cut_off_leaves_the_one_before(pages: CounterPages, at: int) -> None:
    ledger = pages.ledger()
    ledger.write(b"before")
    ledger.write(b"after")
    [half] = [half for half in ledger._halves if memory._written(half) == (2, b"after")]
    half[at] ^= 1  # as if a part of it had not come there
    assert ledger.read() == b"before"
    ledger.write(b"again")
    assert ledger.read() == b"again"


def test_a_head_that_came_only_in_part_is_none(pages: CounterPages) -> None:
    ledger = pages.ledger()
    ledger.write(b"before")
    half = ledger._halves[1 - [memory._written(each)[1] for each in ledger._halves].index(b"before")]
    half[:8] = (2).to_bytes(8, "little")  # and neither size nor check
    assert ledger.read() == b"before"


def test_too_much_is_refused_and_what_was_there_stays(pages: CounterPages) -> None:
    ledger = pages.ledger()
    ledger.write(b"there")
    with pytest.raises(ValueError, match="do not fit into the ledger"):
        ledger.write(bytes(memory.LEDGER // 2))
    assert ledger.read() == b"there"
    ledger.write(bytes(memory.LEDGER // 2 - 20))
    assert len(ledger.read()) == memory.LEDGER // 2 - 20


def test_the_ledger_does_not_touch_the_pages(pages: CounterPages) -> None:
    pages.ledger().write(b"x" * 100_000)
    pages.page(2).store(["a"], [7])
    pages.tally().keep(["b"], [8])
    assert (pages.totals(["a"]), pages.tally().kept(["b"])) == ({"a": 7}, {"b": 8})
    assert pages.ledger().read() == b"x" * 100_000
