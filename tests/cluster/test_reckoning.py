"""The arithmetic of the reckoning, on round figures; what is measured is measured by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.storage.doorbell import LOCK_TIMEOUT
from tests.cluster.reckoning_sums import (
    Fleet,
    Line,
    SlotCosts,
    StoreCosts,
    Turn,
    different,
    highest,
    in_rhythm,
    limits,
    most_changes,
    new_leases,
    written,
)

FLEET = Fleet()
SLOTS = SlotCosts(ask=20.0, give=10.0, beat=25.0, size=165.0)
NOTHING = Line(0.0, 0.0)
FREE = Turn(NOTHING, 0)
STORE = StoreCosts(
    idle=0.1,
    change=1000.0,
    notice=20.0,
    fetch=70.0,
    uses=Line(500.0, 20.0),
    usage=Line(500.0, 30.0),
    change_turn=Turn(Line(5000.0, 0.0), 0),
    uses_turn=FREE,
    usage_turn=FREE,
)


def test_a_line_goes_through_both_of_its_points() -> None:
    line = Line.through((10, 700.0), (1000, 20_500.0))
    assert line == Line(500.0, 20.0)
    assert line.at(1000) == 20_500.0


def test_a_line_has_no_part_below_zero_however_it_was_measured() -> None:
    assert Line.through((10, 100.0), (1000, 50.0)) == Line(100.0, 0.0)
    assert Line.through((10, 5.0), (1000, 10_000.0)).fixed == 0.0


def test_signs_of_life_alone() -> None:
    assert SLOTS.cores(FLEET, 0.0) == pytest.approx(100 * 8 * 5 * 25e-6)


def test_whoever_calls_often_keeps_its_units() -> None:
    assert new_leases(FLEET, 400_000.0) == 400_000.0
    assert new_leases(FLEET, 1_000_000.0) == 0.0
    assert new_leases(FLEET, 0.0) == 0.0


def test_few_draws_are_all_different_and_many_find_all() -> None:
    assert different(1e6, 100) == pytest.approx(100, rel=1e-3)
    assert different(100, 1e6) == pytest.approx(100)
    assert different(100, 100) == pytest.approx(63.2, rel=1e-3)


def test_few_requests_are_a_row_each_in_both_tables() -> None:
    for writer in (UseWriter, UsageWriter):
        assert written(FLEET, 1000.0, writer).rows_a_second == pytest.approx(1000, rel=0.01)


def test_last_uses_go_in_four_times_as_many_transactions_as_sums() -> None:
    uses, usage = written(FLEET, 10_000.0, UseWriter), written(FLEET, 10_000.0, UsageWriter)
    assert (uses.times, usage.times) == (400.0, 100.0)
    assert uses.rows == pytest.approx(25, rel=0.02)
    assert usage.rows == pytest.approx(100, rel=0.05)


def test_a_writer_that_has_nothing_writes_nothing_and_less_than_a_row_is_a_row_more_rarely() -> None:
    assert written(FLEET, 0.0, UseWriter).rows_a_second == 0.0
    few = written(FLEET, 10.0, UseWriter)
    assert few.rows == 1.0
    assert few.times == pytest.approx(10, rel=0.01)


def test_no_transaction_holds_more_rows_than_the_program_writes() -> None:
    uses = written(FLEET, 400_000.0, UseWriter)
    assert uses.rows <= UseWriter.most_at_once
    assert written(FLEET, 400_000.0, UsageWriter).rows == UsageWriter.most_at_once


def test_however_many_requests_a_relay_tells_no_more_than_a_thousand_keys_a_second() -> None:
    wide = replace(FLEET, addresses=10**9, keys=10**8)
    most = FLEET.hosts * FLEET.relays * 1000
    assert written(wide, 1e9, UsageWriter).rows_a_second == pytest.approx(most, rel=0.01)


def test_where_few_keys_are_used_a_row_stands_for_many_requests() -> None:
    few = replace(FLEET, keys=10)
    assert written(few, 100_000.0, UsageWriter).rows_a_second <= FLEET.hosts * 10


def test_a_change_is_a_commit_and_what_every_host_hears_and_fetches() -> None:
    assert STORE.of_a_change(FLEET) == 1000 + 100 * (20 + 70)
    assert STORE.cores(FLEET, 0.0, 10.0) == pytest.approx(0.1 + 10 * 0.01)


def test_the_load_of_uses_is_that_of_transactions_and_rows() -> None:
    uses, usage = written(FLEET, 5000.0, UseWriter), written(FLEET, 5000.0, UsageWriter)
    rows = uses.rows_a_second * 20 + usage.rows_a_second * 30
    expected = 0.1 + ((uses.times + usage.times) * 500 + rows) / 1e6
    assert STORE.cores(FLEET, 5000.0, 0.0) == pytest.approx(expected)


def test_the_turn_is_longer_the_farther_the_database() -> None:
    far = replace(STORE, uses_turn=Turn(NOTHING, 4), change_turn=Turn(Line(1000.0, 0.0), 9))
    assert far.turn(FLEET, 10_000.0, 0.0, round_trip=0.001) == pytest.approx(400 * 4 * 0.001)
    assert far.turn(FLEET, 0.0, 10.0, round_trip=0.001) == pytest.approx(10 * (0.001 + 9 * 0.001))
    assert far.turn(FLEET, 10_000.0, 10.0, round_trip=0.0) == pytest.approx(0.01)


def test_where_turns_are_short_nobody_waits_for_one() -> None:
    assert STORE.period(FLEET, 10_000.0, 10.0) == 0.0


def test_hosts_that_wait_for_their_turn_write_more_at_once_until_all_goes_in() -> None:
    """400 transactions a second of 5 ms are twice what goes in; half as many go in, and are written each 0.5 s."""
    slow = replace(STORE, uses_turn=Turn(Line(5000.0, 0.0), 0))
    assert slow.turn(FLEET, 10_000.0, 0.0) == pytest.approx(2.0)
    assert slow.period(FLEET, 10_000.0, 0.0) == pytest.approx(0.5, rel=0.01)
    assert slow.turn(FLEET, 10_000.0, 0.0, every=0.5) == pytest.approx(1.0)


def test_up_to_where_hosts_write_in_their_rhythm() -> None:
    """Where each request is a transaction of its own, of 5 ms, 200 go in."""
    slow = replace(STORE, uses_turn=Turn(Line(5000.0, 0.0), 0))
    assert in_rhythm(FLEET, slow) == pytest.approx(200, rel=0.01)
    assert in_rhythm(FLEET, STORE) == FLEET.addresses


def test_rows_that_take_too_long_do_not_go_in_however_long_hosts_wait() -> None:
    slow = replace(STORE, uses_turn=Turn(Line(0.0, 1000.0), 0))
    assert slow.period(FLEET, 10_000.0, 0.0) == LOCK_TIMEOUT
    alone = replace(slow, uses=Line(0.0, 500.0), usage=NOTHING)
    assert alone.cores(FLEET, 10_000.0, 0.0) == pytest.approx(0.1 + 0.5)  # half of the turn is processor time


def test_the_highest_load_that_is_carried() -> None:
    assert highest(lambda x: 2 * x + 1, 11.0, 100.0) == pytest.approx(5.0)
    assert highest(lambda x: 2 * x + 1, 0.5, 100.0) == pytest.approx(0.0)
    assert highest(lambda x: x, 1000.0, 100.0) is None


def test_what_gives_out_first_is_what_the_figures_say() -> None:
    """Each of the three in turn is made the weak one."""
    weak_slots = replace(SLOTS, ask=2000.0)
    weak_turn = replace(STORE, uses_turn=Turn(Line(0.0, 1000.0), 0))
    weak_store = replace(STORE, uses=Line(500.0, 2000.0))
    assert limits(FLEET, weak_slots, STORE, 1.0, 4)[0].what == "Valkey's core"
    assert limits(FLEET, SLOTS, weak_turn, 1.0, 4)[0].what == "PostgreSQL's turn"
    first = limits(FLEET, SLOTS, weak_store, 1.0, 4)[0]
    assert first.what == "PostgreSQL's processor (4 cores)"
    assert first.requests is not None
    assert weak_store.cores(FLEET, first.requests, 1.0) == pytest.approx(4.0)


def test_what_never_gives_out_comes_last() -> None:
    *_, last = limits(FLEET, SLOTS, STORE, 0.0, 4)
    assert (last.what, last.requests) == ("PostgreSQL's turn", None)


def test_changes_end_at_the_processor_or_at_the_turn() -> None:
    changes, by = most_changes(FLEET, STORE, 0.0, 1)
    assert (by, round(changes, 6)) == ("processor", 90.0)
    changes, by = most_changes(FLEET, STORE, 0.0, 4, round_trip=0.0)
    assert (by, round(changes, 6)) == ("turn", 200.0)


def test_where_there_is_no_room_there_are_no_changes() -> None:
    assert most_changes(FLEET, replace(STORE, idle=1.5), 0.0, 1) == (0.0, "processor")
