"""Holders of the lease protocol against a model of the server: whatever the schedule, never more than the cap."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystile.cluster.rounds import BEATS
from keystile.limits.lease import ASK
from keystile.limits.slots import FULL
from tests.cluster.world import LEASE, NAMES, Host, Wire, World

A, B = NAMES


def test_what_a_dead_host_held_is_free_within_the_lease_time(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    dead, other = w.hosts
    dead.requests(A, 4)
    w.hosts = [other]
    w.pass_time(LEASE + 0.01)
    other.requests(A, 4)
    assert len(other.rows[A]) == 4


@pytest.mark.parametrize("per_host", [False, True])
def test_who_was_paused_for_longer_than_its_lease_cuts_all_it_had(world, per_host: bool) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4, per_host=per_host)
    one = w.hosts[0]
    one.requests(A, 3)
    one.paused = True
    w.pass_time(5.0)
    one.paused = False
    assert one.request(A) == ASK  # the first thing it does
    assert not one.rows[A]
    w.pass_time(0.3)
    assert len(one.rows[A]) == 1, "and it holds again as soon as it is connected"


def test_a_short_pause_cuts_nothing(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.requests(A, 1)
    one.paused = True
    w.pass_time(0.35)
    one.paused = False
    w.pass_time(2.0)
    assert len(one.rows[A]) == 1
    assert one.holder.lapses == 0


def cut_off(w: World, host: Host, seconds: float) -> None:
    """Nothing of this host arrives."""
    wire, host.wire = host.wire, Wire(w, b"nowhere")  # open, and nobody hears
    assert wire is not None
    kept, w.wires = w.wires, [each for each in w.wires if each not in (wire, host.wire)]
    end = w.now + seconds
    while w.now < end:
        w.tick(LEASE / BEATS)
        w.deliver()
    w.wires = kept
    wire.close()
    host.wire = None


def test_where_refusal_is_the_rule_who_is_cut_off_cuts_all_and_refuses(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.requests(A, 1)
    cut_off(w, one, 2.0)
    assert not one.rows[A]
    assert one.slots.unreachable
    assert one.request(A) == ASK
    one.waiting.clear()
    w.pass_time(0.5)
    assert not one.slots.unreachable
    one.requests(A, 1)
    assert len(one.rows[A]) == 1


def test_where_each_host_may_count_alone_who_is_cut_off_goes_on_and_is_counted_again_later(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4, per_host=True)
    one, two = w.hosts
    one.requests(A, 1)
    cut_off(w, one, 2.0)
    for _ in range(3):
        assert one.request(A) >= 0
    assert one.request(A) == FULL, "the host's own count holds"
    w.pass_time(1.0)
    alive = {holder for holders in w.server.data.alive.values() for holder in holders}
    held = [units for key in w.server.data.units.values() for holder, units in key.items() if holder in alive]
    assert sum(held) == 4
    two.requests(A, 1)
    assert not two.rows[A]


def test_a_new_connection_takes_along_what_is_held(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    one.requests(A, 3)
    assert one.wire is not None
    one.wire.close()
    one.holder.lost()
    w.pass_time(3.0)
    assert len(one.rows[A]) == 3
    assert one.holder.lapses == 0
    two.requests(A, 3)
    assert w.in_flight(A) == 4


def test_after_a_fail_over_nothing_is_lent_until_every_holder_has_spoken_or_stopped(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    before = w.server.copy()
    one.requests(A, 3)
    w.server.data = before  # the replica had not heard of these
    w.fail_over()
    two.connect()
    w.deliver()
    two.requests(A, 4)
    assert w.in_flight(A) == 3
    assert two.slots.lends_nothing()
    one.connect()
    w.pass_time(LEASE + 0.2)
    two.requests(A, 2)
    assert w.in_flight(A) == 4
    assert len(one.rows[A]) == 3


def test_a_server_that_has_lost_all_is_noticed_at_the_next_command(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.requests(A, 3)
    w.server.data = type(w.server.data)()
    w.pass_time(3.0)
    for host in w.hosts:
        host.requests(A, 4)
    assert w.in_flight(A) == 4
    assert len(one.rows[A]) == 4


def test_a_clock_of_the_server_that_jumps_is_answered_by_cutting(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.requests(A, 1)
    for alive in w.server.data.alive.values():
        alive.clear()
    w.tick(0.2)
    w.deliver()
    assert not one.rows[A]
    assert one.holder.lapses == 1


# -- any schedule ---------------------------------------------------------------------------------------

#: What may happen, and how often at most: each schedule has its own weights, so that some things are rare in it.
WEIGHTS = {
    "request": 40,
    "finish": 15,
    "deliver": 20,
    "arrive": 30,
    "back": 30,
    "time": 40,
    "connect": 20,
    "break": 0.5,
    "pause": 0.7,
    "wake": 2,
    "fail over": 0.4,
    "replicate": 2,
    "memory": 0.4,
}


class Schedule:
    """Any order of anything, by one seed."""

    def __init__(self, seed: int, cap: int) -> None:
        self.dice = random.Random(seed)
        self.world = World(3, cap)
        self.weights = [most * self.dice.choice([0.1, 1, 1, 3]) for most in WEIGHTS.values()]
        self.replica = self.world.server.copy()

    def step(self) -> None:
        dice, w = self.dice, self.world
        host, name = dice.choice(w.hosts), dice.choice([A, A, A, B])
        what = dice.choices(list(WEIGHTS), self.weights)[0]
        match what:
            case "time":
                w.now += dice.choice([0.001, 0.02, 0.05, 0.1])
                for each in w.hosts:
                    if not each.paused and dice.random() < 0.4:
                        each.holder.beat()
            case "deliver":
                w.deliver()
            case "arrive":
                wire = dice.choice(w.wires[-6:]) if w.wires else None
                for _ in range(dice.choice([1, 2, 10])):
                    if wire is not None:
                        wire.arrive()
            case "replicate":
                self.replica = w.server.copy()
            case "fail over":
                w.server.data, w.server.full = self.replica, False
                self.replica = w.server.copy()
                w.fail_over()
            case "memory":
                w.server.full = dice.random() < 0.3
            case "wake":
                for each in w.hosts:
                    each.paused = False
            case _ if not host.paused:
                self._of(host, what, name)

    def _of(self, host: Host, what: str, name: bytes) -> None:
        match what:
            case "pause":
                host.paused = True
            case "request":
                host.request(name)
            case "finish":
                host.finish(name)
            case "back":
                if host.wire is not None:
                    for _ in range(self.dice.choice([1, 2, 10])):
                        host.wire.come_back()
            case "break":
                if host.wire is not None and host.wire.is_open:
                    host.wire.close()
                    host.holder.lost()
            case "connect":
                host.connect()

    def calm(self) -> None:
        """All is well again, and nobody has a request in flight."""
        for host in self.world.hosts:
            host.paused = False
            host.waiting.clear()
            host.lapsed()
            for lease in host.slots.leases.values():
                lease.awaited = False
        self.world.server.full = False
        self.world.pass_time(4.0)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
def test_whatever_happens_never_more_than_the_cap_and_all_comes_back(seed: int, cap: int, warm: bool) -> None:
    schedule = Schedule(seed, cap)
    w = schedule.world
    try:
        if warm:
            w.start()
        for _ in range(2000):
            schedule.step()
            assert max(w.in_flight(A), w.in_flight(B)) <= cap
        for host in w.hosts:
            assert host.holder.held == sum(lease.held for lease in host.slots.leases.values())
        schedule.calm()
        for _ in range(cap):
            w.hosts[0].request(A)
            w.deliver()
        assert len(w.hosts[0].rows[A]) == cap
    finally:
        w.close()
