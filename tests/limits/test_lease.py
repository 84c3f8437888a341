"""Leased slots: what is taken without asking, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from keystile.limits.lease import ASK, NEVER, Lease, LeasedSlots, boot_time
from keystile.limits.slots import FULL, SlotTable

NAME = b"\0\0\0\1\x0a\0\0\1"
OTHER = b"\0\0\0\1\x0a\0\0\2"


@pytest.fixture
def slots() -> Iterator[LeasedSlots]:
    table = LeasedSlots.create(rows=64, columns=4)
    assert isinstance(table, LeasedSlots)
    table.claim_column()
    table.clock = lambda: 100.0
    table.valid_until = 101.0
    yield table
    table.close()


def hold(slots: LeasedSlots, units: int, name: bytes = NAME) -> Lease:
    lease = slots.lease_of(name)
    lease.held = units
    return lease


def test_what_is_held_is_taken_and_no_more(slots: LeasedSlots) -> None:
    lease = hold(slots, 2)
    rows = [slots.take(NAME, 20) for _ in range(2)]
    assert slots.take(NAME, 20, rows[0]) == ASK
    slots.give_back(rows[0])
    assert slots.take(NAME, 20, rows[0]) == rows[0]
    assert (lease.used, lease.peak) == (2, 2)
    assert slots.taken() == 2


def test_units_of_one_address_are_no_others(slots: LeasedSlots) -> None:
    hold(slots, 1)
    assert slots.take(OTHER, 20) == ASK


def test_a_lease_that_is_over_is_not_counted_on(slots: LeasedSlots) -> None:
    hold(slots, 2)
    slots.valid_until = 100.0
    assert slots.take(NAME, 20) == ASK
    assert not slots.is_counted_on()


@pytest.mark.parametrize("how", ["unreachable", "deaf"])
def test_where_nobody_lends_the_rule_decides(slots: LeasedSlots, how: str) -> None:
    if how == "deaf":
        slots.deaf_until = 105.0
    else:
        slots.unreachable, slots.valid_until = True, NEVER
    assert slots.lends_nothing()
    assert slots.take(NAME, 2) == ASK
    slots.per_host = True
    rows = [slots.take(NAME, 2) for _ in range(3)]
    assert rows[2] == FULL
    assert slots.leases[NAME].used == 2


def test_the_cap_of_the_host_holds_beside_the_lease(slots: LeasedSlots) -> None:
    hold(slots, 5)
    assert slots.take(NAME, 1) >= 0
    assert slots.take(NAME, 1) == FULL
    assert slots.leases[NAME].used == 1


def test_that_none_is_free_is_believed_for_a_while(slots: LeasedSlots) -> None:
    hold(slots, 0).full_until = 100.5
    assert slots.take(NAME, 20) == FULL
    slots.clock = lambda: 100.6
    assert slots.take(NAME, 20) == ASK


def test_who_waits_hears_of_what_comes_back(slots: LeasedSlots) -> None:
    heard: list[Lease] = []
    slots.returned = heard.append
    lease = hold(slots, 1)
    slots.give_back(slots.take(NAME, 20))
    assert not heard
    lease.heard = True
    slots.give_back(slots.take(NAME, 20))
    assert heard == [lease]


def test_nothing_is_given_back_that_was_not_taken(slots: LeasedSlots) -> None:
    with pytest.raises(ValueError, match=r"."):
        slots.give_back(0)


def test_an_address_has_the_same_name_on_every_host(slots: LeasedSlots) -> None:
    long = ip_address("2001:db8::1")
    other = LeasedSlots.create(rows=64, columns=4)
    alone = SlotTable.create(rows=64, columns=4)
    assert slots.name_of(long, 80) == other.name_of(long, 80)
    assert slots.name_of(long, 80) != alone.name_of(long, 80)
    other.close()
    alone.close()


def test_the_clock_does_not_stand_still_while_the_machine_sleeps() -> None:
    assert boot_time() > 0
