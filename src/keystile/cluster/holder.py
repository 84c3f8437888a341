"""A holder: for how long one process counts on its units, by whichever connection.

Law: as in ``units.py``, no event loop and no sockets: a clock, and answers that come back. It never counts on what the
server may have given to others:

* It counts on its units until ``sent + SURE * lease_time``, where ``sent`` is when the last heartbeat that was answered
  was *sent*; the server lets go of them at least ``(1 - SURE) * lease_time`` later. In that time the process cuts what
  it may not answer for (``Watcher.lapsed``).
* Where ``min_replicas`` says so, a heartbeat counts only once so many replicas have it (WAIT), and the time in which a
  new epoch lends nothing begins only once they follow the new server. A replica follows one server at a time: where
  more than half of all servers have to have it, the old primary's holders have stopped counting by the time the new
  one lends, however the network is split. The server then lets go of units after twice the lease time: for SURE of it
  after the last confirmation the old primary may lend what it takes for free, and what was held there may have moved to
  the new one SURE of it after its last heartbeat.
* Each connection is a holder of its own name. What the process still holds moves over, address by address; the name
  before it is dead then, so whatever of its commands arrives late changes nothing.

What is asked for and given back: ``units.py``.
"""

from __future__ import annotations

import secrets
from typing import Final

from keystile.cluster import scripts
from keystile.cluster.batches import move_commands
from keystile.cluster.rounds import Rounds
from keystile.cluster.scripts import CHANNEL, EPOCH_KEY
from keystile.cluster.sender import Port, Terms
from keystile.limits.lease import NEVER

SURE: Final = 0.8
"""The share of the lease time for which a holder counts on its units after a heartbeat."""


class Holder(Rounds):
    """See the module."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.doubt: str | None = None  # why the server that was connected to lends nothing
        self._is_opened = False  # the server knows the one that is being opened
        self._beaten = NEVER  # when its last answered heartbeat was sent
        self._looked = self._away_since = self.slots.clock()
        self.lapses = 0

    # -- life of a holder -----------------------------------------------------------------------------

    def channel(self) -> bytes:
        """A new name, and the channel on which it is spoken to: to be subscribed to before ``open``."""
        self._next = secrets.token_bytes(8)
        return CHANNEL + self._next

    def open(self, port: Port, incarnation: bytes) -> None:
        """Begin to hold by this connection. ``incarnation`` names the server as it is."""
        self._port, self._is_opened, sent = port, False, self.slots.clock()
        name, token = self._next, secrets.token_hex(8).encode("ascii")
        args = (incarnation, token, name, b"%d" % self._milliseconds(), self.name)
        self._call(scripts.OPEN, (EPOCH_KEY,), args, lambda reply: self._opened(name, sent, reply))

    def _opened(self, name: bytes, sent: float, reply: object) -> None:
        assert isinstance(reply, list)
        self.look()
        if name != self._next or self._port is None:
            return
        token, wait, alive = reply
        if self.name and token == self._token and not alive:
            self.lapse()  # the server's clock has left ours behind: others may have our units
            return
        if self.min_replicas:
            self._confirm(lambda count: self._opening_confirmed(name, token, sent, count))
        else:
            self._take_over(name, token, sent, wait)

    def _opening_confirmed(self, name: bytes, token: bytes, sent: float, count: object) -> None:
        if not self._is_confirmed(count):
            self._drop()
        elif name == self._next:
            self._call(scripts.SEAL, (EPOCH_KEY,), (token,), lambda wait: self._sealed(name, token, sent, wait))

    def _sealed(self, name: bytes, token: bytes, sent: float, wait: object) -> None:
        assert isinstance(wait, int)
        self.look()
        if name == self._next and self._port is not None:
            self._take_over(name, token, sent, wait)

    def _is_confirmed(self, count: object) -> bool:
        assert isinstance(count, int)
        confirmed = count >= self.min_replicas
        self.doubt = None if confirmed else f"{count} replicas follow it, and min_replicas is {self.min_replicas}"
        return confirmed

    def _take_over(self, name: bytes, token: bytes, sent: float, wait: int) -> None:
        """What is held moves to the new name. For ``wait`` ms the server lends nothing."""
        self._token, self._beaten, self._is_opened = token, sent, True
        self.slots.deaf_until = self.slots.clock() + wait / 1000 if wait else NEVER
        moved = [lease for lease in self.slots.leases.values() if lease.held or lease.used]
        for lease in moved:
            self._set_held(lease, max(lease.held, lease.used))
            lease.touched = sent
        for keys, args in move_commands(token, name, self.name, moved):
            self._call(scripts.MOVE, self._keys(keys), args)
        self._call(scripts.LEAVE, self._keys(), (token, self.name), lambda reply: self._moved(name))

    def _moved(self, name: bytes) -> None:
        self.look()
        if name != self._next or self._port is None:
            return
        self.name, self._next = name, b""
        self.slots.valid_until = self._beaten + SURE * self.lease_time
        self.slots.unreachable = False
        for lease in self.slots.leases.values():
            lease.asking = False
            lease.full_until = lease.told_until = NEVER
        self._watcher.changed(None)

    def lost(self) -> None:
        """The connection is gone. The units are counted on for as long as they are sure."""
        self._port, self._next = None, b""
        for lease in self.slots.leases.values():
            lease.asking = False
            lease.giving = 0

    def is_connected(self) -> bool:
        """Whether it has a connection, of use or not yet."""
        return self._port is not None

    def leave(self) -> None:
        """Say that this holder is no more: its units are free at once. Only when nothing is in flight any more."""
        if self.name:
            self._call(scripts.LEAVE, self._keys(), (self._token, self.name))
        self.name, self._port, self.slots.valid_until = b"", None, NEVER

    def cannot_connect(self) -> None:
        """The server cannot be reached at this moment."""
        if not self.slots.is_counted_on():
            self._be_unreachable()

    def _drop(self) -> None:
        """This connection is of no more use: begin another, with another name."""
        port, self._port = self._port, None
        self.lost()
        if port is not None:
            port.close()

    # -- the clock ------------------------------------------------------------------------------------

    def beat(self) -> None:
        """To be called ``BEATS`` times in a lease time, connected or not."""
        if self.look():
            return
        self._look_round()
        name, sent = self._next or self.name, self.slots.clock()
        if name and (self._is_opened or not self._next):
            args = (self._token, name, b"%d" % self._milliseconds())
            self._call(scripts.BEAT, self._keys(), args, lambda reply: self._beat_answered(name, sent, reply))

    def _beat_answered(self, name: bytes, sent: float, reply: object) -> None:
        if name not in (self.name, self._next) or not name:
            return
        if reply != 1:
            self.lapse()
        elif self.min_replicas:
            self._confirm(lambda count: self._beat_counts(name, sent) if self._is_confirmed(count) else None)
        else:
            self._beat_counts(name, sent)

    def _beat_counts(self, name: bytes, sent: float) -> None:
        if name not in (self.name, self._next) or not name:
            return
        self._beaten = max(self._beaten, sent)
        if name == self.name and not self._next:
            self.slots.valid_until = max(self.slots.valid_until, sent + SURE * self.lease_time)

    def look(self) -> bool:
        """See whether the units may still be counted on; True where they have just ceased to be."""
        now = self.slots.clock()
        looked, self._looked = self._looked, now
        if self.name:
            if now >= self.slots.valid_until:
                self.lapse(paused=now - looked > self.lease_time / 2)
                return True
        elif not self.slots.unreachable and now - self._away_since > self.lease_time:
            self._be_unreachable()
        return False

    def lapse(self, *, paused: bool = True) -> None:
        """Count on nothing any more, and begin anew.

        ``paused``: others may count on our units, for we were silent, or the server says so. Otherwise it was the
        server who was silent, to all of us perhaps, and ``when_unreachable`` says whether requests go on.
        """
        self.lapses += 1
        self.name = self._token = b""
        self._beaten = NEVER
        self._away_since = self._looked = self.slots.clock()
        self.slots.valid_until = NEVER
        for lease in self.slots.leases.values():
            self._set_held(lease, 0)
            lease.wanted.clear()
            lease.surplus = 0
            lease.heard = lease.awaited
            lease.full_until = lease.told_until = NEVER
        self._drop()
        if paused or not self.slots.per_host:
            self._watcher.lapsed()
        if not paused:
            self._be_unreachable()

    def _be_unreachable(self) -> None:
        if not self.slots.unreachable:
            self.slots.unreachable = True
            self._watcher.changed(None)

