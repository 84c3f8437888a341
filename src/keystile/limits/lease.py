"""Slots that are leased: the count of one host, within what a count over many hosts has lent to this process.

Law: as in ``slots.py``: memory and counting, no event loop and no sockets. Who lends, and how, is ``cluster/``'s.

A *unit* is the right to have one request of an address in flight. This process holds units of an address (``held``)
and has requests in flight on them (``used``); a take within ``held`` asks nobody. It also counts in the host's table,
as it would without leases: that is what remains where nobody lends (``when_unreachable: per_host``), and what status
and metrics show.

Two promises, kept by every line here:

* Where units are counted on, ``used <= held`` for each address, and ``clock() < valid_until`` at every take. From that
  moment on, by this host's own clock, others may have been given our units.
* That clock goes on while the machine sleeps (CLOCK_BOOTTIME): a lease must not outlast a suspended machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from keystile.limits.slots import FULL, SlotTable, slot_name

ASK: Final = -4
"""All units held here are in use, or none may be counted on: whoever lends has to be asked."""

NEVER: Final = float("-inf")
#: Prefixes longer than /64 are hashed; over many hosts they need one key, and it can be no secret of one host.
_NAME_KEY: Final = b"keystile over many hosts"

boot_time: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Seconds of the clock by which leases end."""


class Lease:
    """The units of one address that this process holds.

    ``peak``: most in use since the lease was looked at last; ``asking``: a question is on its way, sent at ``asked``;
    ``full_until``: until when it is believed that no unit is free anywhere; ``final``: the next answer says whether
    that is so; ``doubted``: one that said so was not believed; ``told_until``: until when all others know that units
    are lacking here; ``lacking``: so many; ``giving``: answers to givings that are not there yet; ``surplus``: units in
    use that go back one by one as they come free; ``wanted``: others who lack one, each with the moment until which it
    is told; ``awaited``: requests wait here; ``touched``: when the lender last saw these units.
    """

    __slots__ = (
        "asked",
        "asking",
        "awaited",
        "doubted",
        "final",
        "full_until",
        "giving",
        "heard",
        "held",
        "lacking",
        "name",
        "peak",
        "surplus",
        "told_until",
        "touched",
        "used",
        "wanted",
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.held = 0
        self.used = 0
        self.peak = 0
        self.asking = False
        self.asked = 0.0
        self.awaited = False
        self.full_until = NEVER
        self.final = False
        self.doubted = False
        self.told_until = NEVER
        self.lacking = 0
        self.giving = 0
        self.surplus = 0
        self.wanted: dict[bytes, float] = {}
        self.heard = False  # whether anybody cares where a slot is given back: see ``cares``
        self.touched = 0.0

    def cares(self) -> bool:
        """Whether a unit that comes free is of interest to somebody: waited for here or elsewhere, or one too many."""
        return self.awaited or bool(self.wanted) or self.surplus > 0


class LeasedSlots(SlotTable):
    """The host's table, and leases before it. ``holder`` (``cluster/holder.py``) sets what stands below.

    ``valid_until``: until when the units held may be counted on; ``unreachable``: nobody lends now; ``deaf_until``:
    until then whoever lends gives nothing; ``per_host``: what holds in both cases is the host's own count.
    ``returned`` hears of a unit that came free where somebody has been waiting for one.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.leases: dict[bytes, Lease] = {}
        self._at_row: dict[int, Lease] = {}
        self.clock: Callable[[], float] = boot_time
        self.valid_until = NEVER
        self.unreachable = False
        self.deaf_until = NEVER
        self.per_host = False
        self.returned: Callable[[Lease], None] | None = None

    def name_of(self, ip: IPv4Address | IPv6Address, ipv6_prefix_length: int) -> bytes:
        """The name of an address: the same on every host."""
        return slot_name(ip, ipv6_prefix_length, _NAME_KEY)

    def take(self, name: bytes, cap: int, row: int = -1) -> int:
        """As ``SlotTable.take``, within the units held; or ASK."""
        lease = self.leases.get(name)
        if lease is None or lease.used >= lease.held or self.clock() >= self.valid_until:
            return self._beyond(self.lease_of(name), cap, row)
        # As in ``_count``, which would be a call more; and ``super()`` makes an object each time.
        row = SlotTable.take(self, name, cap, row)
        if row >= 0:
            self._at_row[row] = lease
            lease.used = used = lease.used + 1
            if used > lease.peak:
                lease.peak = used
        return row

    def give_back(self, row: int) -> None:
        """Give back one slot taken at ``row``. Raises ValueError when this process holds none there."""
        self._counts[row * self.columns + self.column] -= 1  # as in SlotTable: below zero does not fit
        # The row is this address's as long as we have a count in it.
        lease = self._at_row[row]
        lease.used -= 1
        if lease.heard and self.returned is not None:
            self.returned(lease)

    def lease_of(self, name: bytes) -> Lease:
        """The lease of an address, of no units where there was none."""
        lease = self.leases.get(name)
        if lease is None:
            lease = self.leases[name] = Lease(name)
        return lease

    def is_counted_on(self) -> bool:
        """Whether the units held may be counted on now."""
        return self.clock() < self.valid_until

    def lends_nothing(self) -> bool:
        """Whether there is nobody to ask now."""
        return self.unreachable or self.clock() < self.deaf_until

    def _count(self, lease: Lease, cap: int, row: int) -> int:
        row = super().take(lease.name, cap, row)
        if row >= 0:
            self._at_row[row] = lease
            lease.used += 1
            if lease.used > lease.peak:
                lease.peak = lease.used
        return row

    def _beyond(self, lease: Lease, cap: int, row: int) -> int:
        now = self.clock()
        if self.unreachable or now < self.deaf_until:
            return self._count(lease, cap, row) if self.per_host else ASK
        if now < self.valid_until and now < lease.full_until:
            return FULL
        return ASK
