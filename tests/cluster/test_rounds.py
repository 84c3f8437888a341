"""What goes back, or is said again, without anybody asking for it."""

from __future__ import annotations

import random

from tests.cluster.world import NAMES

A, _ = NAMES


def test_units_that_lie_idle_go_back_and_leave_nothing_behind(world) -> None:  # type: ignore[no-untyped-def]
    w = world()
    w.hosts[0].request(A)
    w.deliver()
    w.hosts[0].finish(A)
    w.pass_time(10.0)
    assert not any(w.server.data.units.values())
    assert not w.hosts[0].slots.leases
    assert w.hosts[0].holder.held == 0


def test_units_in_use_for_long_are_kept_and_thrown_away_ones_are_noticed(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.requests(A, 1)
    w.pass_time(40.0)
    assert len(one.rows[A]) == 1
    for units in w.server.data.units.values():
        units.clear()
    w.pass_time(20.0)
    assert not one.rows[A]


def _turn_over(w, rounds: int) -> None:  # type: ignore[no-untyped-def]
    """Requests end and others come, on both hosts, all the time as many as there are."""
    for _ in range(rounds):
        for host in w.hosts:
            host.finish(A)
            host.requests(A, 1)
        w.tick(0.05)
        for host in w.hosts:
            host.waiting.clear()
            host.slots.lease_of(A).awaited = False


def test_a_cap_that_is_lowered_holds_once_what_was_in_flight_has_ended(world) -> None:  # type: ignore[no-untyped-def]
    """No host lacks a unit, and none asks: what they hold of the higher cap has to go back all the same."""
    w = world(cap=4)
    for host in w.hosts:
        host.requests(A, 2)
    assert w.in_flight(A) == 4
    w.cap = 2
    w.tick(0.2)
    w.deliver()
    assert w.in_flight(A) == 4, "what is in flight is not cut"
    _turn_over(w, 6)
    assert w.in_flight(A) <= 2
    w.cap = 4
    for host in w.hosts * 2:
        host.requests(A, 1)
    assert w.in_flight(A) == 4


def test_hosts_of_a_lower_cap_have_no_more_than_that_together(world) -> None:  # type: ignore[no-untyped-def]
    """Two say 2, two say 4: of the former never three, of all never five."""
    w = world(hosts=4, cap=4)
    low = w.hosts[:2]
    for host in low:
        host.holder._cap = lambda: 2
    dice = random.Random(1)
    most_low = most = 0
    for _ in range(2000):
        host = dice.choice(w.hosts)
        host.request(A) if dice.random() < 0.6 else host.finish(A)
        if dice.random() < 0.5:
            w.deliver()
        if dice.random() < 0.2:
            w.tick(0.05)
            for each in w.hosts:
                each.connect()
        most_low = max(most_low, sum(host.in_flight(A) for host in low))
        most = max(most, w.in_flight(A))
    assert (most_low, most) == (2, 4)
