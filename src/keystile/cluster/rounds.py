"""Looking round: what goes back, or is said again, without anybody asking for it.

Law: as in ``units.py``. An address whose units were not all used for ``ROUND_SECONDS`` gives the rest back. Where the
cap has been lowered, units in use go back as they come free, until all hold no more. Units in use for long are named
from time to time, so that the server does not forget them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keystile.cluster.batches import keep_commands
from keystile.cluster.scripts import KEEP, MOVE, address_key
from keystile.cluster.sender import Terms
from keystile.cluster.units import Units
from keystile.limits.lease import Lease

BEATS: Final = 5
"""Heartbeats in a lease time."""
ROUND_SECONDS: Final = 2.0
"""In which every lease is looked at once."""
KEEP_SECONDS: Final = 15.0
"""After which the server is reminded of units that are in use for long. Well below ``scripts.ADDRESS_TTL``."""


class Rounds(Units):
    """See the module; ``_look_round`` is to be called ``BEATS`` times in a lease time."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._round: Iterator[Lease] = iter(())
        self._cap_before = 0

    def _look_round(self) -> None:
        """Some of the leases, all of them in each round: what is idle goes back, what is in use for long is kept."""
        if not self._is_holding():
            return
        self._look_at_cap()
        now, idle, long = self.slots.clock(), [], []
        some = int(len(self.slots.leases) * self.lease_time / BEATS / ROUND_SECONDS) + 1
        for lease in self._take(some):
            units = lease.held - max(lease.used, lease.peak)
            lease.peak = lease.used
            if lease.heard:
                self._forget_wanting(lease)
            if lease.used > lease.held and now >= self.slots.deaf_until:
                self._settle(lease)
            elif units > 0:
                idle.append((lease, units, b""))
            elif not (lease.held or lease.used or lease.asking or lease.giving or lease.heard) and (
                now >= lease.full_until
            ):
                del self.slots.leases[lease.name]
            if lease.held and now - lease.touched > KEEP_SECONDS:
                lease.touched = now
                long.append(lease)
        self._give(idle)
        for keys, args in keep_commands(self._token, self.name, long):
            self._call(KEEP, self._keys(keys), args, self._kept)

    def _look_at_cap(self) -> None:
        """Where it has been lowered, whatever is held may be too much: idle units go back, others as they come free."""
        before, self._cap_before = self._cap_before, self._cap()
        if self._cap_before >= before:
            return
        leases = [lease for lease in self.slots.leases.values() if lease.held]
        for lease in leases:
            lease.surplus = lease.used
            lease.heard = lease.cares()
        self._give([(lease, lease.held - lease.used, b"") for lease in leases if lease.held > lease.used])

    def _take(self, some: int) -> Iterator[Lease]:
        for _ in range(some):
            lease = next(self._round, None)
            if lease is None:
                self._round = iter(list(self.slots.leases.values()))
                return
            if lease.name in self.slots.leases:
                yield lease

    def _kept(self, lost: object) -> None:
        if lost:
            self.lapse()  # somebody has thrown away what we hold

    def _settle(self, lease: Lease) -> None:
        """Units that were taken by the host's own count are in use: let the server know of them."""
        lacking = lease.used - lease.held
        self._set_held(lease, lease.used)
        keys = self._keys([address_key(self._token, lease.name)])
        self._call(MOVE, keys, (self._token, self.name, b"", b"%d" % lacking))
