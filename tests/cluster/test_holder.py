"""Holders of the lease protocol against a model of the server: whatever the schedule, never more than the cap.

The law of the simulation: a request in flight counts while its host answers for it, that is until the host, by its own
clock, no longer counts on its units; what is in flight on a host that has been killed is cut with it.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystile.cluster.holder import BEATS, Holder
from keystile.cluster.scripts import Script, ServerError
from keystile.limits.lease import ASK, LeasedSlots
from keystile.limits.slots import FULL
from tests.cluster.model import ModelServer

NAMES = [b"\0\0\0\1\x0a\0\0\1", b"\0\0\0\1\x0a\0\0\2"]
LEASE = 1.0


class Wire:
    """A connection: what was sent and not yet come, what was answered and not yet come. Implements ``Port``."""

    def __init__(self, world: World, channel: bytes) -> None:
        self.world = world
        self.channel = channel
        self.out: deque[tuple[Script, Sequence[bytes], Sequence[bytes], Callable[[object], None]]] = deque()
        self.back: deque[Callable[[], None]] = deque()
        self.is_open = True
        world.wires.append(self)

    def call(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], answered: Callable[[object], None]
    ) -> None:
        self.out.append((script, list(keys), list(args), answered))

    def close(self) -> None:
        self.is_open = False

    def arrive(self) -> None:
        """One command comes to the server: even after the connection was closed on this side."""
        if self.out:
            script, keys, args, answered = self.out.popleft()
            try:
                reply: object = self.world.server.run(script, keys, args)
            except ServerError as error:
                reply = error
            self.back.append(lambda: answered(reply))

    def come_back(self) -> None:
        if self.back:
            back = self.back.popleft()
            if self.is_open:
                back()


class Host:
    """One process: real leases and a real holder; requests that come and go. Implements ``Watcher``."""

    def __init__(self, world: World, *, per_host: bool = False) -> None:
        self.world = world
        table = LeasedSlots.create(rows=64, columns=4)
        assert isinstance(table, LeasedSlots)
        self.slots = table
        table.claim_column()
        table.per_host = per_host
        table.clock = lambda: world.now
        self.holder = Holder(table, self, lambda: world.cap, LEASE)
        self.wire: Wire | None = None
        self.rows: dict[bytes, list[int]] = {name: [] for name in NAMES}
        self.waiting: Counter[bytes] = Counter()
        self.paused = False
        self.said: Counter[str] = Counter()

    def connect(self) -> None:
        if self.wire is not None and self.wire.is_open:
            return
        self.wire = Wire(self.world, self.holder.channel())
        self.holder.open(self.wire, self.world.incarnation)

    def request(self, name: bytes) -> int:
        """As ``relay/`` does it; what has to wait is counted in ``waiting``."""
        row = self.slots.take(name, self.world.cap)
        if row >= 0:
            self.rows[name].append(row)
        elif row == ASK:
            self.holder.look()
            lease = self.slots.lease_of(name)
            self.waiting[name] += 1
            lease.awaited = lease.heard = True
            self.holder.ask(lease)
        self.said["in" if row >= 0 else "full" if row == FULL else "ask"] += 1
        return row

    def finish(self, name: bytes) -> None:
        if self.rows[name]:
            self.slots.give_back(self.rows[name].pop())

    def in_flight(self, name: bytes) -> int:
        """What this host answers for."""
        return len(self.rows[name]) if self.slots.is_counted_on() else 0

    # -- Watcher

    def lapsed(self) -> None:
        for name in NAMES:
            while self.rows[name]:
                self.finish(name)

    def changed(self, name: bytes | None) -> None:
        for each in NAMES if name is None else [name]:
            lease = self.slots.lease_of(each)
            while self.waiting[each]:
                row = self.slots.take(each, self.world.cap)
                if row == ASK and not self.slots.lends_nothing():
                    self.holder.ask(lease)
                    break
                self.waiting[each] -= 1
                if row >= 0:
                    self.rows[each].append(row)
            lease.awaited = self.waiting[each] > 0
            lease.heard = lease.awaited or bool(lease.wanted)
            if lease.wanted and not lease.awaited:
                self.holder.share(lease)

    def none_free(self, name: bytes) -> None:
        pass  # patience is the schedule's

    def need(self, name: bytes) -> int:
        return self.waiting[name]


class World:
    """A clock, a server, hosts, and all that is on the way between them."""

    def __init__(self, hosts: int, cap: int, *, per_host: bool = False) -> None:
        self.now = 1000.0
        self.cap = cap
        self.wires: list[Wire] = []
        self.incarnation = b"one"
        self.pauses = 0
        self.server = ModelServer(lambda: int(self.now * 1000), self._publish)
        self.hosts = [Host(self, per_host=per_host) for _ in range(hosts)]

    def _publish(self, channel: bytes, said: bytes) -> None:
        for wire in self.wires:
            if wire.channel == channel and wire.is_open:
                host = next(host for host in self.hosts if host.wire is wire)
                wire.back.append(partial(host.holder.heard, said))

    def deliver(self) -> None:
        """Everything that is on the way arrives."""
        while any((wire.out or wire.back) for wire in self.wires if not self._sleeps(wire)):
            for wire in list(self.wires):
                if not self._sleeps(wire):
                    wire.arrive()
                    wire.come_back()

    def _sleeps(self, wire: Wire) -> bool:
        return any(host.wire is wire and host.paused for host in self.hosts)

    def tick(self, seconds: float) -> None:
        """Time passes, and everybody who is awake beats."""
        self.now += seconds
        for host in self.hosts:
            if not host.paused:
                host.holder.beat()

    def pass_time(self, seconds: float, step: float = LEASE / BEATS) -> None:
        end = self.now + seconds
        while self.now < end:
            self.tick(step)
            for host in self.hosts:
                if not host.paused:
                    host.connect()
            self.deliver()

    def start(self) -> None:
        """All are connected, and the first moments of the epoch are over."""
        for host in self.hosts:
            host.connect()
        self.deliver()
        self.pass_time(LEASE + 0.1)

    def in_flight(self, name: bytes) -> int:
        return sum(host.in_flight(name) for host in self.hosts)

    def fail_over(self) -> None:
        """Another server takes over; every connection is gone, and what was on its way does not come."""
        self.wires.clear()
        self.incarnation += b"+"
        for host in self.hosts:
            if host.wire is not None:
                host.wire.close()
                host.holder.lost()
                host.wire = None

    def close(self) -> None:
        for host in self.hosts:
            host.slots.close()


@pytest.fixture
def world():  # type: ignore[no-untyped-def]
    made: list[World] = []

    def make(hosts: int = 2, cap: int = 4, *, per_host: bool = False) -> World:
        made.append(World(hosts, cap, per_host=per_host))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close()


A, B = NAMES


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


def test_what_a_dead_host_held_is_free_within_the_lease_time(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    dead, other = w.hosts
    for _ in range(4):
        dead.request(A)
        w.deliver()
    w.hosts = [other]
    w.pass_time(LEASE + 0.01)
    for _ in range(4):
        other.request(A)
        w.deliver()
    assert len(other.rows[A]) == 4


@pytest.mark.parametrize("per_host", [False, True])
def test_who_was_paused_for_longer_than_its_lease_cuts_all_it_had(world, per_host: bool) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4, per_host=per_host)
    one = w.hosts[0]
    for _ in range(3):
        one.request(A)
        w.deliver()
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
    one.request(A)
    w.deliver()
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
    one.request(A)
    w.deliver()
    cut_off(w, one, 2.0)
    assert not one.rows[A]
    assert one.slots.unreachable
    assert one.request(A) == ASK
    one.waiting.clear()
    w.pass_time(0.5)
    assert not one.slots.unreachable
    one.request(A)
    w.deliver()
    assert len(one.rows[A]) == 1


def test_where_each_host_may_count_alone_who_is_cut_off_goes_on_and_is_counted_again_later(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4, per_host=True)
    one, two = w.hosts
    one.request(A)
    w.deliver()
    cut_off(w, one, 2.0)
    for _ in range(3):
        assert one.request(A) >= 0
    assert one.request(A) == FULL, "the host's own count holds"
    w.pass_time(1.0)
    alive = {holder for holders in w.server.data.alive.values() for holder in holders}
    held = [units for key in w.server.data.units.values() for holder, units in key.items() if holder in alive]
    assert sum(held) == 4
    two.request(A)
    w.deliver()
    assert not two.rows[A]


def test_a_new_connection_takes_along_what_is_held(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    for _ in range(3):
        one.request(A)
        w.deliver()
    assert one.wire is not None
    one.wire.close()
    one.holder.lost()
    w.pass_time(3.0)
    assert len(one.rows[A]) == 3
    assert one.holder.lapses == 0
    for _ in range(3):
        two.request(A)
        w.deliver()
    assert w.in_flight(A) == 4


def test_after_a_fail_over_nothing_is_lent_until_every_holder_has_spoken_or_stopped(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    before = w.server.copy()
    for _ in range(3):
        one.request(A)
        w.deliver()
    w.server.data = before  # the replica had not heard of these
    w.fail_over()
    two.connect()
    w.deliver()
    for _ in range(4):
        two.request(A)
        w.deliver()
    assert w.in_flight(A) == 3
    assert two.slots.lends_nothing()
    one.connect()
    w.pass_time(LEASE + 0.2)
    for _ in range(2):
        two.request(A)
        w.deliver()
    assert w.in_flight(A) == 4
    assert len(one.rows[A]) == 3


def test_a_server_that_has_lost_all_is_noticed_at_the_next_command(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    for _ in range(3):
        one.request(A)
        w.deliver()
    w.server.data = type(w.server.data)()
    w.pass_time(3.0)
    for host in w.hosts:
        for _ in range(4):
            host.request(A)
            w.deliver()
    assert w.in_flight(A) == 4
    assert len(one.rows[A]) == 4


def test_a_clock_of_the_server_that_jumps_is_answered_by_cutting(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.request(A)
    w.deliver()
    for alive in w.server.data.alive.values():
        alive.clear()
    w.tick(0.2)
    w.deliver()
    assert not one.rows[A]
    assert one.holder.lapses == 1


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
