"""Units of addresses, asked for and given back by hosts that share one server."""

from __future__ import annotations

import random

from keystile.limits.slots import FULL
from tests.cluster.world import NAMES

A, _ = NAMES


def test_a_unit_that_is_held_is_taken_without_asking(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=20)
    one = w.hosts[0]
    one.request(A)
    w.deliver()
    assert len(one.rows[A]) == 1
    asked = one.holder.asked
    for _ in range(4):  # a quarter of what was free came along
        assert one.request(A) >= 0
    assert one.holder.asked == asked


def test_all_units_of_the_cap_can_be_used_from_any_host(world) -> None:  # type: ignore[no-untyped-def]
    w = world(hosts=4, cap=20)
    for at in range(20):
        w.hosts[at * 7 % 4].request(A)
        w.deliver()
    assert w.in_flight(A) == 20
    w.hosts[0].request(A)
    w.deliver()
    assert w.in_flight(A) == 20


def test_idle_units_of_another_host_come_when_they_are_needed(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    for _ in range(4):
        one.request(A)
        w.deliver()
    for _ in range(4):
        one.finish(A)
    assert w.server.data.units  # they are leased still
    for _ in range(4):
        two.request(A)
        w.deliver()
    assert len(two.rows[A]) == 4


def test_a_unit_that_comes_free_goes_to_the_host_that_waits(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    for _ in range(4):
        one.request(A)
        w.deliver()
    two.request(A)
    w.deliver()
    assert two.waiting[A] == 1
    one.finish(A)
    w.deliver()
    assert len(two.rows[A]) == 1


def test_units_that_lie_idle_go_back_and_leave_nothing_behind(world) -> None:  # type: ignore[no-untyped-def]
    w = world()
    w.hosts[0].request(A)
    w.deliver()
    w.hosts[0].finish(A)
    w.pass_time(10.0)
    assert not any(w.server.data.units.values())
    assert not w.hosts[0].slots.leases
    assert w.hosts[0].holder.held == 0


def test_full_memory_lends_nothing_and_leaves_what_is_held(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=8)
    one = w.hosts[0]
    one.request(A)
    w.deliver()
    w.server.full = True
    held = one.slots.leases[A].held
    for _ in range(held + 1):
        one.request(A)
    w.deliver()
    assert len(one.rows[A]) == held
    assert one.slots.lends_nothing()
    w.pass_time(0.5)
    assert len(one.rows[A]) == held
    w.server.full = False
    w.pass_time(1.5)
    one.request(A)
    w.deliver()
    assert len(one.rows[A]) > held


def test_units_in_use_for_long_are_kept_and_thrown_away_ones_are_noticed(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.request(A)
    w.deliver()
    w.pass_time(40.0)
    assert len(one.rows[A]) == 1
    for units in w.server.data.units.values():
        units.clear()
    w.pass_time(20.0)
    assert not one.rows[A]


def _all_idle(w) -> None:  # type: ignore[no-untyped-def]
    """The first host holds all four units, and none is in use."""
    one = w.hosts[0]
    for _ in range(4):
        one.request(A)
        w.deliver()
    for _ in range(4):
        one.finish(A)


def _give_what_is_idle(w) -> None:  # type: ignore[no-untyped-def]
    """Its rounds give the units back; what it says stays on its way."""
    one = w.hosts[0]
    while one.slots.leases and one.slots.leases[A].held:
        w.now += 0.1
        one.holder.beat()


def test_units_that_are_on_their_way_back_when_somebody_lacks_one_are_not_missed(world) -> None:  # type: ignore[no-untyped-def]
    """The server has been asked before the giving came to it: who gave says so once it has arrived."""
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    _give_what_is_idle(w)
    two.request(A)
    two.wire.arrive()  # none is free, and the first host is told that somebody lacks one
    while one.wire.back:
        one.wire.come_back()
    w.deliver()
    assert len(two.rows[A]) == 1


def test_a_part_that_is_on_its_way_back_is_not_missed_either(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    one.request(A)  # stays in flight
    one.slots.leases[A].peak = 1
    while one.slots.leases[A].held > 1:
        w.now += 0.1
        one.holder.beat()
    two.request(A)
    two.wire.arrive()
    while one.wire.back:
        one.wire.come_back()
    w.deliver()
    assert len(two.rows[A]) == 1


def test_once_the_giving_has_arrived_who_lacks_one_is_told_of_the_next_only(world) -> None:  # type: ignore[no-untyped-def]
    """Else two who lack a unit that does not exist would ask each other for ever."""
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    w.pass_time(5.0)
    for _ in range(4):
        one.request(A)
        w.deliver()
    two.request(A)
    w.deliver()
    asked = two.holder.asked
    w.deliver()
    assert (len(two.rows[A]), two.holder.asked) == (0, asked)


def test_nobody_is_refused_by_an_answer_that_is_older_than_his_patience(world) -> None:  # type: ignore[no-untyped-def]
    """Whatever was told or lost meanwhile: the server is asked once more, and what it says then counts."""
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    two.request(A)
    two.wire.arrive()
    one.wire.back.clear()  # what the first host is told is lost
    w.server.data.lacking.clear()  # and forgotten, as after 500 ms
    while two.wire.back:
        two.wire.come_back()
    _give_what_is_idle(w)
    w.deliver()
    assert two.waiting[A] == 1
    two.holder.ask_finally(two.slots.lease_of(A))
    assert two.waiting[A] == 1, "not before it has been answered"
    w.deliver()
    assert len(two.rows[A]) == 1


def test_who_is_out_of_patience_while_an_answer_is_on_its_way_waits_for_it(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    _, two = w.hosts
    two.request(A)
    two.wire.arrive()  # lent; not known here yet
    two.holder.ask_finally(two.slots.lease_of(A))
    w.deliver()
    assert len(two.rows[A]) == 1


def test_the_last_answer_is_believed(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    for _ in range(4):
        one.request(A)
        w.deliver()
    two.request(A)
    w.deliver()
    two.holder.ask_finally(two.slots.lease_of(A))
    w.deliver()
    assert two.waiting[A] == 0
    assert not two.rows[A]
    assert two.request(A) == FULL


def _turn_over(w, rounds: int) -> None:  # type: ignore[no-untyped-def]
    """Requests end and others come, on both hosts, all the time as many as there are."""
    for _ in range(rounds):
        for host in w.hosts:
            host.finish(A)
            host.request(A)
            w.deliver()
        w.tick(0.05)
        for host in w.hosts:
            host.waiting.clear()
            host.slots.lease_of(A).awaited = False


def test_a_cap_that_is_lowered_holds_once_what_was_in_flight_has_ended(world) -> None:  # type: ignore[no-untyped-def]
    """No host lacks a unit, and none asks: what they hold of the higher cap has to go back all the same."""
    w = world(cap=4)
    for host in w.hosts:
        for _ in range(2):
            host.request(A)
            w.deliver()
    assert w.in_flight(A) == 4
    w.cap = 2
    w.tick(0.2)
    w.deliver()
    assert w.in_flight(A) == 4, "what is in flight is not cut"
    _turn_over(w, 6)
    assert w.in_flight(A) <= 2
    w.cap = 4
    for host in w.hosts * 2:
        host.request(A)
        w.deliver()
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
