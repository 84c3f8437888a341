"""From what single things cost two servers to what a hundred hosts ask of them: the arithmetic of ``reckoning.py``.

Law: numbers into numbers; nothing is measured and nothing printed here. Processor time is in microseconds of the whole
server, load in cores or in shares of a turn (1: no more goes in).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keystile.cluster.rounds import BEATS, ROUND_SECONDS
from keystile.management.batches import BatchWriter
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.relay.record import FLUSH_SECONDS
from keystile.relay.uses import PIECE, USES_SECONDS
from keystile.storage.doorbell import LOCK_TIMEOUT

ROUND_TRIP: Final = 0.3e-3
"""Seconds between a host and the database that are assumed; measured is on a Unix socket."""
TURN: Final = "PostgreSQL's turn"
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts and who calls them: each address from one relay at a time, and each key from as many addresses."""

    hosts: int = 100
    relays: int = 8
    addresses: int = 1_000_000
    keys: int = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """What ``n`` of something cost together: ``fixed + each * n``."""

    fixed: float
    each: float

    def at(self, n: float) -> float:
        """The cost of so many."""
        return self.fixed + self.each * n

    @classmethod
    def through(cls, few: tuple[float, float], many: tuple[float, float]) -> Line:
        """The line through two measured points (how many, cost); neither part is below zero."""
        each = max(0.0, (many[1] - few[1]) / (many[0] - few[0]))
        return cls(max(0.0, few[1] - each * few[0]), each)


@dataclass(frozen=True, slots=True)
class SlotCosts:
    """Of the server that lends slots. ``size``: bytes of an address with units."""

    ask: float
    give: float
    beat: float
    size: float

    def cores(self, fleet: Fleet, requests: float) -> float:
        """Load by so many requests a second, each address calling as often as the others."""
        beats = fleet.hosts * fleet.relays * BEATS
        return (beats * self.beat + new_leases(fleet, requests) * (self.ask + self.give)) / 1e6


@dataclass(frozen=True, slots=True)
class Turn:
    """What is done one at a time over all hosts: microseconds by the clock, and round trips meanwhile."""

    time: Line
    trips: int

    def seconds(self, n: float, round_trip: float) -> float:
        """How long one of ``n`` rows keeps the others waiting."""
        return self.time.at(n) / 1e6 + self.trips * round_trip


@dataclass(frozen=True, slots=True)
class StoreCosts:
    """Of the database. ``idle``: cores that the hosts take by being there. ``change`` is a commit alone, ``notice`` one
    listener told, ``fetch`` one host's look after it. ``uses`` and ``usage``: transactions, by rows."""

    idle: float
    change: float
    notice: float
    fetch: float
    uses: Line
    usage: Line
    change_turn: Turn
    uses_turn: Turn
    usage_turn: Turn

    def of_a_change(self, fleet: Fleet) -> float:
        """Until every host knows it."""
        return self.change + fleet.hosts * (self.notice + self.fetch)

    def cores(self, fleet: Fleet, requests: float, changes: float, round_trip: float = ROUND_TRIP) -> float:
        """Load by so many requests and changes a second; of notes no more than get their turn."""
        every = self.period(fleet, requests, changes, round_trip)
        uses, usage = written(fleet, requests, UseWriter, every), written(fleet, requests, UsageWriter, every)
        noting = uses.times * self.uses.at(uses.rows) + usage.times * self.usage.at(usage.rows)
        taken = self.turn(fleet, requests, changes, every, round_trip)
        return self.idle + (noting / max(1.0, taken) + changes * self.of_a_change(fleet)) / 1e6

    def turn(
        self, fleet: Fleet, requests: float, changes: float, every: float = 0.0, round_trip: float = ROUND_TRIP
    ) -> float:
        """The share of time in which somebody changes keys or notes uses: one excludes the other, over all hosts.

        Above 1 where not all of it goes in. ``every``: as of ``written``.
        """
        uses, usage = written(fleet, requests, UseWriter, every), written(fleet, requests, UsageWriter, every)
        noting = uses.times * self.uses_turn.seconds(uses.rows, round_trip)
        noting += usage.times * self.usage_turn.seconds(usage.rows, round_trip)
        return noting + changes * self.change_turn.seconds(1, round_trip)

    def period(self, fleet: Fleet, requests: float, changes: float, round_trip: float = ROUND_TRIP) -> float:
        """Seconds between two notes of a host where all have to wait for their turn; 0 where none does.

        Who waits longer writes more at once, which takes less of the turn. ``LOCK_TIMEOUT`` where even then it is too
        much: from there on notes fail, and are tried again.
        """

        def room(every: float) -> float:
            return -self.turn(fleet, requests, changes, every, round_trip)

        if room(0.0) >= -1.0:
            return 0.0
        least = highest(room, -1.0, LOCK_TIMEOUT)
        return LOCK_TIMEOUT if least is None else least


@dataclass(frozen=True, slots=True)
class Written:
    """Transactions a second over all hosts, and rows of each."""

    times: float
    rows: float

    @property
    def rows_a_second(self) -> float:
        """Over all hosts."""
        return self.times * self.rows


def new_leases(fleet: Fleet, requests: float) -> float:
    """Units that are asked for a second: one for each request of an address that calls so rarely that its last one has
    gone back."""
    if requests <= 0:
        return 0.0
    return requests if fleet.addresses / requests >= ROUND_SECONDS else 0.0


def different(among: float, drawn: float) -> float:
    """How many different ones are expected when one of ``among`` is drawn ``drawn`` times (many of both)."""
    return among * -math.expm1(-drawn / among)


def written(fleet: Fleet, requests: float, writer: type[BatchWriter], every: float = 0.0) -> Written:
    """What ``writer`` of every host writes for so many requests a second, a row for each key that it was told of.

    ``every``: seconds between two transactions, where the writer's own are less. A relay tells of a key once in
    ``USES_SECONDS`` at most, and of ``PIECE`` keys at a flush; management of a host puts together what its relays have
    told since it wrote last.
    """
    if requests <= 0:
        return Written(0.0, 0.0)
    relays = fleet.hosts * fleet.relays
    of_relay = min(fleet.keys, fleet.addresses / relays)
    told = min(different(of_relay, requests / relays * USES_SECONDS) / USES_SECONDS, PIECE / FLUSH_SECONDS)
    of_host = min(fleet.keys, fleet.addresses / fleet.hosts)
    every = max(every, writer.every)
    waiting = different(of_host, told * fleet.relays * every)
    rows = min(max(1.0, waiting), writer.most_at_once)
    return Written(fleet.hosts * waiting / every / rows, rows)


def highest(load: Callable[[float], float], most: float, within: float) -> float | None:
    """The greatest figure from 0 to ``within`` up to which ``load``, which grows with it, is no more than ``most``.

    None where it is never more; 0 where it always is.
    """
    if load(within) <= most:
        return None
    low, high = 0.0, within
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if load(middle) <= most else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that can give out, and the requests a second at which it does; None: at none that were looked at."""

    what: str
    requests: float | None


def limits(fleet: Fleet, slots: SlotCosts, store: StoreCosts, changes: float, cores: int) -> list[Limit]:
    """What gives out beside so many changes a second, first what does first. The database has so many ``cores``."""
    within = fleet.addresses / ROUND_SECONDS  # who calls more often keeps its units, and the server's load falls
    found = [
        Limit("Valkey's core", highest(lambda requests: slots.cores(fleet, requests), 1.0, within)),
        Limit(
            f"PostgreSQL's processor ({cores} {'core' if cores == 1 else 'cores'})",
            highest(lambda requests: store.cores(fleet, requests, changes), cores, within),
        ),
        Limit(TURN, highest(lambda requests: store.turn(fleet, requests, changes, LOCK_TIMEOUT), 1.0, within)),
    ]
    return sorted(found, key=lambda limit: math.inf if limit.requests is None else limit.requests)


def in_rhythm(fleet: Fleet, store: StoreCosts, round_trip: float = ROUND_TRIP) -> float:
    """Requests a second up to which no host waits longer for its turn to note uses than it would by itself."""
    most = highest(lambda requests: store.turn(fleet, requests, 0.0, 0.0, round_trip), 1.0, fleet.addresses)
    return float(fleet.addresses) if most is None else most


def most_changes(
    fleet: Fleet, store: StoreCosts, requests: float, cores: int, round_trip: float = ROUND_TRIP
) -> tuple[float, str]:
    """Changes a second beside so many requests, and what they end at: the processor or the turn.

    Notes may wait for as long as they can meanwhile.
    """
    room = (cores - store.cores(fleet, requests, 0.0)) * 1e6 / store.of_a_change(fleet)
    taken = store.turn(fleet, requests, 0.0, LOCK_TIMEOUT, round_trip)
    turns = (1.0 - taken) / store.change_turn.seconds(1, round_trip)
    least = min((room, "processor"), (turns, "turn"))
    return max(0.0, least[0]), least[1]
