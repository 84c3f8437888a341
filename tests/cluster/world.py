"""Holders, the server's model and all that is on the way between them, with a clock of their own.

Law of the simulation: a request in flight counts while its host answers for it, that is until the host, by its own
clock, no longer counts on its units; what is in flight on a host that has been killed is cut with it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from keystile.cluster.holder import Holder
from keystile.cluster.rounds import BEATS
from keystile.cluster.scripts import Script, ServerError
from keystile.cluster.sender import Terms
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
        self.out: deque[tuple[Script | None, Sequence[bytes], Sequence[bytes], Callable[[object], None]]] = deque()
        self.server = world.server
        self.back: deque[Callable[[], None]] = deque()
        self.is_open = True
        world.wires.append(self)

    def call(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], answered: Callable[[object], None]
    ) -> None:
        self.out.append((script, list(keys), list(args), answered))

    def confirm(self, replicas: int, milliseconds: int, answered: Callable[[object], None]) -> None:
        self.out.append((None, [], [], answered))

    def close(self) -> None:
        self.is_open = False

    def arrive(self) -> None:
        """One command comes to the server: even after the connection was closed on this side."""
        if self.out:
            script, keys, args, answered = self.out.popleft()
            try:
                reply: object = self.server.replicas
                if script is not None:
                    reply = self.server.run(script, keys, args)
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
        self.holder = Holder(Terms(table, self, lambda: world.cap, LEASE, world.min_replicas))
        self.wire: Wire | None = None
        self.rows: dict[bytes, list[int]] = {name: [] for name in NAMES}
        self.waiting: Counter[bytes] = Counter()
        self.paused = False
        self.said: Counter[str] = Counter()
        self.patient: set[bytes] = set()

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

    def requests(self, name: bytes, number: int) -> None:
        """So many, one after the other: each is answered, or waits, before the next comes."""
        for _ in range(number):
            self.request(name)
            self.world.deliver()

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
            lease.heard = lease.cares()
            if lease.wanted and not lease.awaited:
                self.holder.share(lease)

    def none_free(self, name: bytes) -> None:
        self.patient.add(name)

    def lose_patience(self) -> None:
        """When that is, is the schedule's."""
        patient, self.patient = self.patient, set()
        for name in patient:
            self.holder.ask_finally(self.slots.lease_of(name))

    def need(self, name: bytes) -> int:
        return self.waiting[name]


class World:
    """A clock, a server, hosts, and all that is on the way between them."""

    def __init__(self, hosts: int, cap: int, *, per_host: bool = False, min_replicas: int = 0) -> None:
        self.now = 1000.0
        self.cap = cap
        self.min_replicas = min_replicas
        self.wires: list[Wire] = []
        self.incarnation = b"one"
        self.pauses = 0
        self.server = self.new_server()
        self.hosts = [Host(self, per_host=per_host) for _ in range(hosts)]

    def new_server(self) -> ModelServer:
        """One that knows nothing, and that two replicas follow."""
        return ModelServer(lambda: int(self.now * 1000), self._publish)

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
        self.pass_time((2 if self.min_replicas else 1) * LEASE + 0.1)

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
