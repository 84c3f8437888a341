"""Units of addresses, asked for and given back by hosts that share one server."""

from __future__ import annotations

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
