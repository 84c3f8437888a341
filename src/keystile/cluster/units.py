"""Units of addresses: how they are asked for, given back, and passed on to who lacks one.

Law: as in ``sender.py``, and the leases (``limits/lease.py``). Whether the units may be counted on at all is the
holder's (``holder.py``), who is one of these. Units count as given back when the giving is sent, as lent when the
answer has come: what is lost on the way is held by nobody until this holder's name is dead.

When somebody lacks a unit, all who have some are told, and the server notes it: they give one at once and a quarter of
what else is idle, or the next that comes free within ``WANTED_SECONDS``, and the server passes on to who lacks one
whatever comes back. So who has been told of asks nobody again for a while (``TOLD_SECONDS``). Whoever is lent units
learns with them who else lacks some: all who have units of an address know of all who wait for one.

What comes back without being asked for: ``rounds.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Final

from keystile.cluster import scripts
from keystile.cluster.batches import MOST, give_commands
from keystile.cluster.scripts import ServerError, address_key
from keystile.cluster.sender import Sender, Terms
from keystile.limits.lease import NEVER, Lease

TRUST_SECONDS: Final = 0.1
"""For how long it is believed that no unit of an address is free; whoever frees one tells us before."""
WANTED_SECONDS: Final = 0.5
"""For how long somebody who lacked a unit gets what comes free, as in ``scripts.ASK``. Longer than TRUST_SECONDS."""
TOLD_SECONDS: Final = 0.25
"""For how long nobody is asked again after all have been told; well below WANTED_SECONDS."""
SLOW_SECONDS: Final = 0.05
"""An answer that took longer says that somebody stood still: then others may not have been heard in their time."""


class Units(Sender):
    """See the module. For metrics: ``asked``."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.asked = 0
        self.slots.returned = self._returned

    @abstractmethod
    def look(self) -> bool:
        """See whether the units may still be counted on; True where they have just ceased to be."""

    @abstractmethod
    def lapse(self, *, paused: bool = True) -> None:
        """Count on nothing any more, and begin anew."""

    def ask(self, lease: Lease) -> None:
        """Ask for the units that requests of an address wait for; nothing where that is being asked already."""
        if self.look() or lease.asking or not self._is_holding() or self.slots.lends_nothing():
            return  # whoever is being opened says ``changed`` in the end, and nobody asks who lends nothing
        if self.slots.clock() < lease.told_until:
            self._watcher.none_free(lease.name)  # all know already, and nobody has had one yet
            return
        lease.asking, lease.asked = True, self.slots.clock()
        self.asked += 1
        name = self.name
        need = max(self._watcher.need(lease.name), 1)
        args = (self._token, name, b"%d" % self._cap(), b"%d" % need)
        keys = self._keys([address_key(self._token, lease.name)])
        self._call(scripts.ASK, keys, args, lambda reply: self._asked(name, lease, need, reply))

    def _asked(self, name: bytes, lease: Lease, need: int, reply: object) -> None:
        if name != self.name or self.look():
            return
        lease.asking = False
        lease.told_until = NEVER
        now = self.slots.clock()
        if isinstance(reply, ServerError):  # its memory is full: what is held stays held, and nothing more is lent
            self.slots.deaf_until = now + self.lease_time
            self._watcher.changed(None)
            return
        assert isinstance(reply, list)
        given, wait, told, others = reply
        if given == -1:
            self.lapse()
            return
        if given == -2:
            self.slots.deaf_until = now + wait / 1000
            self._watcher.changed(None)
            return
        if told:
            lease.told_until = now + TOLD_SECONDS
            lease.lacking = max(need - given, 1)
        if given:
            self._lent(lease, given, others)
        elif told and (not lease.final or self._doubts(lease)):
            if lease.awaited:  # else who asked has had one of this host, and patience would be for nobody
                self._watcher.none_free(lease.name)
        else:
            self.is_full(lease)

    def _doubts(self, lease: Lease) -> bool:
        """Whether an answer took so long that what others give may stand behind it; once, then it is believed."""
        if lease.doubted or self.slots.clock() - lease.asked <= SLOW_SECONDS:
            return False
        lease.final, lease.doubted = False, True
        return True

    def _lent(self, lease: Lease, units: int, others: bytes) -> None:
        """So many units are ours now; ``others``: who lacks some, 8 bytes each."""
        now = self.slots.clock()
        lease.touched, lease.full_until = now, NEVER
        lease.final = lease.doubted = False
        self._set_held(lease, lease.held + units)
        self._note(lease, others)
        self._watcher.changed(lease.name)
        if not lease.awaited:
            self.share(lease)

    def ask_finally(self, lease: Lease) -> None:
        """Those who were told have had their time: what the server answers to this, or to what is asked, counts.

        What was told may have been lost, or overtaken by units on their way back: only the server knows.
        """
        lease.final = True
        lease.told_until = NEVER
        self.ask(lease)

    def is_full(self, lease: Lease) -> None:
        """Believe that no unit of this address is free, until somebody says otherwise."""
        lease.final = lease.doubted = False
        lease.full_until = self.slots.clock() + TRUST_SECONDS
        self._watcher.changed(lease.name)

    def heard(self, said: bytes) -> None:
        """What others have said on this holder's channel."""
        kind, name = said[:1], said[-8:]
        if not self.name:
            return
        if kind == b"g":
            self._passed(name, said)
            return
        lease = self.slots.leases.get(name)
        if lease is None:
            return
        if kind == b"w":
            self._note(lease, said[1:9])
            if lease.giving:  # the server was asked before it had them: this comes behind them, and tells
                self._give([(lease, 0, said[1:9])])
            if not lease.awaited:
                self.share(lease)
        elif kind == b"f":
            lease.full_until = lease.told_until = NEVER
            if lease.awaited:
                self.ask(lease)

    def _passed(self, name: bytes, said: bytes) -> None:
        """The server has passed on what came back: ``g``, to whom, how many, who else lacks some, the address."""
        if said[1:9] != self.name or self.look():
            return
        lease = self.slots.lease_of(name)
        lease.lacking -= said[9]
        if lease.lacking <= 0:
            lease.told_until = NEVER  # who lacks more has to say so anew
        self._lent(lease, said[9], said[10:-8])

    def _note(self, lease: Lease, others: bytes) -> None:
        """These lack units of the address."""
        until = self.slots.clock() + WANTED_SECONDS
        for first in range(0, len(others), 8):
            lease.wanted[others[first : first + 8]] = until
        lease.heard = lease.cares()

    def _returned(self, lease: Lease) -> None:
        """A unit has come free where somebody waits for one: those here go first."""
        if lease.surplus and self._is_holding():
            lease.surplus -= 1
            self._give([(lease, min(1, lease.held - lease.used), b"".join(lease.wanted))])
        if lease.awaited:
            self._watcher.changed(lease.name)
            return
        self.share(lease)

    def share(self, lease: Lease) -> None:
        """Nobody waits here for units of this address: give what is idle to those who have been waiting elsewhere."""
        if not lease.wanted:
            lease.heard = lease.cares()
            return
        self._forget_wanting(lease)
        idle = lease.held - lease.used - self._watcher.need(lease.name)
        if lease.wanted and idle > 0 and self._is_holding():
            # All are told, once. The answer says who lacks one still.
            told = b"".join(lease.wanted)
            lease.wanted.clear()
            lease.heard = lease.cares()
            self._give([(lease, 1 + (idle - 1) // 4, told)])

    def _forget_wanting(self, lease: Lease) -> None:
        now = self.slots.clock()
        for other in [other for other, until in lease.wanted.items() if until <= now]:
            del lease.wanted[other]
        lease.heard = lease.cares()

    def _give(self, given: Sequence[tuple[Lease, int, bytes]]) -> None:
        """Give of each lease so many units back, and have those be told who lack one."""
        if not self._is_holding():
            return
        for first in range(0, len(given), MOST):
            some = given[first : first + MOST]
            for lease, units, _ in some:
                self._set_held(lease, lease.held - units)
                if units:
                    lease.giving += 1
                    lease.told_until = NEVER  # who gives lacks none
            [(keys, args)] = give_commands(self._token, self.name, some)
            self._call(scripts.GIVE, self._keys(keys), args, partial(self._arrived, some))

    def _arrived(self, given: Sequence[tuple[Lease, int, bytes]], still: object) -> None:
        for lease, units, _ in given:
            lease.giving -= units > 0
        if len(given) == 1 and isinstance(still, bytes) and still:
            [(lease, _, _)] = given
            self._note(lease, still)
            if not lease.awaited:
                self.share(lease)
