from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.management import slowdown
from keystile.management.slowdown import ACCOUNT, ADDRESS, LONGEST, NOWHERE, PAIR, Counted, Limit, name, network_of
from keystile.storage.attempts import Attempts

NOW = 1_790_000_000.0
LIMITS = st.sampled_from([ACCOUNT, PAIR, ADDRESS])
TIMES = st.floats(NOW - 1e6, NOW + 1e6)


def delays(limit: Limit, failures: int) -> list[float]:
    """The delay after each failure, where each comes as soon as it is looked at."""
    row, now, found = Attempts(), NOW, []
    for _ in range(failures):
        row = slowdown.count(row, limit, now)
        wait = slowdown.wait([row], now)
        found.append(wait)
        now += wait
    return found


def test_the_first_failures_are_free_and_then_each_costs_twice_as_much_up_to_fifteen_minutes() -> None:
    # What leaks away meanwhile makes it a little less than twice.
    assert [round(delay) for delay in delays(ACCOUNT, 12)] == [0, 0, 0, 0, 1, 2, 4, 8, 16, 31, 61, 116]
    assert max(delays(ACCOUNT, 100)) <= LONGEST
    assert delays(ADDRESS, 19) == [0.0] * 19


@pytest.mark.parametrize(("limit", "most"), [(ACCOUNT, 120), (PAIR, 120), (ADDRESS, 330)])
def test_who_keeps_guessing_gets_few_guesses_a_day(limit: Limit, most: int) -> None:
    row, now, guesses = Attempts(), NOW, 0
    while now < NOW + 86400:
        row = slowdown.count(row, limit, now)
        now += slowdown.wait([row], now)
        guesses += 1
    assert guesses <= most


@given(LIMITS, st.lists(st.floats(0, 1e5), max_size=200))
def test_nobody_is_ever_held_off_for_longer_than_fifteen_minutes(limit: Limit, pauses: list[float]) -> None:
    row, now = Attempts(), NOW
    for pause in pauses:
        row = slowdown.count(row, limit, now)
        assert 0 <= slowdown.wait([row], now) <= LONGEST
        now += pause


@given(LIMITS, st.integers(1, 300))
def test_all_is_forgotten_by_itself(limit: Limit, failures: int) -> None:
    row = Attempts()
    for _ in range(failures):
        row = slowdown.count(row, limit, NOW)
    assert row.empty - NOW <= (limit.free + 11) * limit.leak <= 5 * 3600
    assert slowdown.count(row, limit, row.empty) == slowdown.count(Attempts(), limit, row.empty)


@given(TIMES, TIMES)
def test_a_clock_that_was_set_back_holds_nobody_off(written: float, now: float) -> None:
    row = slowdown.count(Attempts(written + 1e5, written), ACCOUNT, written)
    assert slowdown.wait([row], now) <= LONGEST


@given(LIMITS, TIMES, TIMES)
def test_an_attempt_that_was_right_leaves_no_trace(limit: Limit, empty: float, until: float) -> None:
    before = Attempts(max(empty, NOW), until)
    after = slowdown.count(before, limit, NOW)
    counted = Counted((b"",), (limit,), (before,), (after,))
    back = slowdown.give_back(after, counted, 0)
    assert back.until == until
    assert back.empty <= max(empty, NOW) + 1e-3


def test_an_attempt_that_was_right_does_not_lift_the_delay_of_another() -> None:
    first = slowdown.count(Attempts(NOW + 6 * 900, 0.0), ACCOUNT, NOW)
    counted = Counted((b"",), (ACCOUNT,), (Attempts(NOW + 6 * 900, 0.0),), (first,))
    other = slowdown.count(first, ACCOUNT, NOW)
    assert slowdown.give_back(other, counted, 0).until == other.until > NOW


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", NOWHERE),
        ("", NOWHERE),
    ],
)
def test_a_client_is_an_address_or_a_network_that_one_client_has(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.text(), st.text())
def test_names_of_different_things_differ(one: str, other: str) -> None:
    assert len(name(ACCOUNT, one)) == 32
    assert (name(ACCOUNT, one) == name(ACCOUNT, other)) == (one == other)
    assert name(ACCOUNT, one) != name(ADDRESS, one) != name(PAIR, one)


def test_a_name_can_be_made_of_anything_typed() -> None:
    assert len({name(ACCOUNT, "\ud800"), name(ACCOUNT, ""), name(ACCOUNT, "x" * 1_000_000)}) == 3
