"""Units of addresses: how they are asked for, given back, and passed on to who lacks one.

Law: no event loop and no sockets: a clock, a ``Port`` to send by, answers that come back, and the leases
(``limits/lease.py``). Whether the units may be counted on at all is the holder's (``holder.py``), who is one of these.
Units count as given back when the giving is sent, as lent when the answer has come: what is lost on the way is held by
nobody until this holder's name is dead.

When somebody lacks a unit, all who have some are told, and the server notes it: they give half of what is idle at once,
or the next unit that comes free within ``WANTED_SECONDS``, and the server passes on to who lacks one whatever comes
back. So who has been told of asks nobody again for a while (``TOLD_SECONDS``). Whoever is lent units learns with them
who else lacks some: all who have units of an address know of all who wait for one.

What comes back without being asked for: ``rounds.py``.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from keystile.cluster import scripts
from keystile.cluster.batches import MOST, give_commands
from keystile.cluster.scripts import EPOCH_KEY, Script, ServerError, address_key, alive_key
from keystile.limits.lease import NEVER, Lease, LeasedSlots

log = logging.getLogger("keystile.cluster")

TRUST_SECONDS: Final = 0.1
"""For how long it is believed that no unit of an address is free; whoever frees one tells us before."""
WANTED_SECONDS: Final = 0.5
"""For how long somebody who lacked a unit gets what comes free, as in ``scripts.ASK``. Longer than TRUST_SECONDS."""
TOLD_SECONDS: Final = 0.25
"""For how long nobody is asked again after all have been told; well below WANTED_SECONDS."""


class Port(Protocol):
    """A connection to the server on which the scripts are known and the holder's channel is subscribed to."""

    def call(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], answered: Callable[[object], None]
    ) -> None:
        """Send it; ``answered`` gets what the script returns, or a ``ServerError``."""

    def close(self) -> None:
        """Close it. No answer comes after that."""


class Watcher(Protocol):
    """Who has requests on the units."""

    def lapsed(self) -> None:
        """Cut every request that has a slot: nobody answers for them any more."""

    def changed(self, name: bytes | None) -> None:
        """It is worth trying again to take a slot: of this address, or of all."""

    def none_free(self, name: bytes) -> None:
        """No unit of this address is free; others have been told, and may free one in a moment."""

    def need(self, name: bytes) -> int:
        """How many requests of this address wait for a unit."""


class Units(ABC):
    """See the module. ``lease_time`` in seconds; ``cap`` gives the cap that is in force.

    ``name``: of the holder whose units are counted on; empty where none is. For metrics: ``asked``, ``commands`` and
    ``held``.
    """

    def __init__(self, slots: LeasedSlots, watcher: Watcher, cap: Callable[[], int], lease_time: float) -> None:
        self.slots = slots
        self.lease_time = lease_time
        self.name = b""
        self._watcher = watcher
        self._cap = cap
        self._port: Port | None = None
        self._next = b""  # of the holder that is being opened
        self._token = b""
        self.asked = self.commands = self.held = 0
        slots.returned = self._returned

    @abstractmethod
    def look(self) -> bool:
        """See whether the units may still be counted on; True where they have just ceased to be."""

    @abstractmethod
    def lapse(self, *, paused: bool = True) -> None:
        """Count on nothing any more, and begin anew."""

    @abstractmethod
    def _drop(self) -> None:
        """This connection is of no more use: begin another, with another name."""

    def _is_holding(self) -> bool:
        """Whether it has a name on a connection, and no other is being opened."""
        return bool(self._port is not None and self.name and not self._next)

    # -- units ----------------------------------------------------------------------------------------

    def ask(self, lease: Lease) -> None:
        """Ask for the units that requests of an address wait for; nothing where that is being asked already."""
        if self.look() or lease.asking or not self._is_holding() or self.slots.lends_nothing():
            return  # whoever is being opened says ``changed`` in the end, and nobody asks who lends nothing
        if self.slots.clock() < lease.told_until:
            self._watcher.none_free(lease.name)  # all know already, and nobody has had one yet
            return
        lease.asking = True
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
        elif told and not lease.final:
            self._watcher.none_free(lease.name)
        else:
            self.is_full(lease)

    def _lent(self, lease: Lease, units: int, others: bytes) -> None:
        """So many units are ours now; ``others``: who lacks some, 8 bytes each."""
        now = self.slots.clock()
        lease.touched, lease.full_until, lease.final = now, NEVER, False
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
        lease.final = False
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
        """The server has passed on to us what came back: ``g``, for whom, how many, who else lacks some, the address."""
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
        self._forget_wanting(lease)
        idle = lease.held - lease.used - self._watcher.need(lease.name)
        if lease.wanted and idle > 0 and self._is_holding():
            # All are told, once. The answer says who lacks one still.
            told = b"".join(lease.wanted)
            lease.wanted.clear()
            lease.heard = lease.cares()
            self._give([(lease, (idle + 1) // 2, told)])

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

    def _set_held(self, lease: Lease, units: int) -> None:
        self.held += units - lease.held
        lease.held = units

    # -- the server -----------------------------------------------------------------------------------

    def _milliseconds(self) -> int:
        return round(self.lease_time * 1000)

    def _keys(self, addresses: Sequence[bytes] = ()) -> Sequence[bytes]:
        return (EPOCH_KEY, alive_key(self._token), *addresses)

    def _call(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes],
        answered: Callable[[object], None] = lambda reply: None,
    ) -> None:
        """Send it on the connection as it is now; an answer that comes when that is no more is not heard."""
        port = self._port
        if port is None:
            return

        def reply(value: object) -> None:
            if port is not self._port:
                return
            full = script is scripts.ASK and isinstance(value, ServerError) and str(value).startswith("OOM")
            if isinstance(value, ServerError) and not full:
                log.warning("slots: the server refuses %s: %s", script.name, value)
                self._drop()
            else:
                answered(value)

        self.commands += 1
        port.call(script, keys, args, reply)
