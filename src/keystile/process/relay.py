"""The relay process: takes up its charge, runs a gateway on uvloop, drains when told to.

Law: life and death of the process only. What a relay *does* is built by ``keystile.app`` and stands in
``keystile.relay``; tests put a smaller one in through the charge's ``factory``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from keystile.config.model import Listener, Settings
from keystile.limits.descriptors import raise_limit
from keystile.limits.heap import keep_some
from keystile.limits.lease import LeasedSlots
from keystile.limits.servers import Pages, ServerTable
from keystile.limits.slots import SlotTable
from keystile.process import snapshot
from keystile.process.channel import Sender
from keystile.process.charge import LEAVING, REPLACED, Charge, Line, run
from keystile.process.memory import CounterPages, Page
from keystile.process.neighbours import Neighbours
from keystile.process.post import Message

LONGEST_FAULT = 2000
"""Characters of why a configuration was not taken."""
HEARTBEAT = 0.25
"""Seconds between signs of life."""


class Gateway(Protocol):
    """What a relay process runs."""

    async def start(self) -> None:
        """Get ready to serve (load keys, start what runs beside). Raises whatever keeps it from that."""

    async def listen(self, opened: socket.socket, listener: Listener) -> None:
        """Accept connections from a shared listening socket."""

    def leave(self, *, replaced: bool = False) -> None:
        """Its end is near: serve on, but keep no connection; and, unless it was ``replaced``, let health say so."""

    async def drain(self) -> None:
        """Accept no more, finish requests in flight, within ``drain_timeout``."""

    def close(self) -> None:
        """Close what is still open."""


@runtime_checkable
class Changing(Protocol):
    """A gateway that can work by another configuration from one request to the next."""

    def take(self, accepted: snapshot.Snapshot) -> None:
        """Work by it from now on. Raises whatever keeps it from that; then nothing has changed."""

    def unlisten(self, listener: Listener) -> None:
        """Accept no more from one socket of ``listener``; connections stay."""


@runtime_checkable
class Adopting(Protocol):
    """A gateway that can also serve a connection that was accepted for it."""

    async def adopt(self, accepted: socket.socket, listener: Listener) -> None:
        """Serve an accepted, non-blocking connection as if it had been accepted by ``listener``'s socket."""


@runtime_checkable
class Sparing(Protocol):
    """A gateway that may have more to do than it can do."""

    def is_overloaded(self) -> bool:
        """Whether it takes on nobody else's connections at this moment."""


Store = Callable[[Sequence[str], Sequence[int]], None]
Factory = Callable[[snapshot.Snapshot, SlotTable, Sender, Store, Pages], Gateway]


async def work(charge: Charge, line: Line) -> None:
    """From the charge to the end of the drain."""
    raise_limit()
    keep_some()
    taken = snapshot.read(charge.snapshot)
    slots = (SlotTable if taken.settings.slots is None else LeasedSlots).attach(charge.slots)
    slots.claim_column()
    sender = Sender(socket.socket(fileno=charge.channel))
    page = CounterPages.attach(charge.counters).page(charge.place)
    build: Factory = charge.made()
    servers = ServerTable.attach(charge.servers)
    gateway = build(taken, slots, sender, page.store, Pages(servers.page(0), servers.page(charge.place)))
    await gateway.start()
    doors = Doors(gateway)
    await doors.open(taken.settings.listeners, charge.listeners, charge.neighbours)
    changes = Changes(gateway, doors, line, taken.settings)
    page.open()
    _beat(page, sender)
    # What was loaded stays: a collection that looked at every key again would hold up requests.
    gc.collect()
    gc.freeze()
    line.ready()
    await line.stop.wait()
    changes.close()
    gateway.leave(replaced=line.how == REPLACED)
    if line.how == LEAVING:
        await asyncio.sleep(changes.settings.limits.drain_wait)
    doors.close()
    await gateway.drain()
    gateway.close()
    page.beat(sender.dropped)


class Doors:
    """The listening sockets: own ones, which ``gateway`` accepts from, and the other relays'."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: list[Listener] = []
        self._neighbours = Neighbours([], None)

    async def open(self, listeners: Sequence[Listener], own: Sequence[int], others: Sequence[int]) -> None:
        """Accept for these listeners, and no others, from now on. Descriptors (as in a charge) become ours.

        A listener that is accepted for already stays as it is. Raises OSError.
        """
        gone = [each for each in self._open if each not in listeners]
        stay = list(self._open)
        for listener, fd in zip(listeners, own, strict=True):
            if listener in stay:
                stay.remove(listener)
                os.close(fd)
            else:
                await self._gateway.listen(socket.socket(fileno=fd), listener)
                self._open.append(listener)
        if isinstance(self._gateway, Changing):
            for listener in gone:
                self._gateway.unlisten(listener)
                self._open.remove(listener)
        self._neighbours.close()
        self._neighbours = _neighbours(others, listeners, self._gateway)

    def close(self) -> None:
        """Look at the neighbours' sockets no more; the gateway closes the own ones."""
        self._neighbours.close()


class Changes:
    """Configurations that come while the relay runs (``acceptance.py``), one by one. ``settings``: those in force."""

    def __init__(self, gateway: Gateway, doors: Doors, line: Line, settings: Settings) -> None:
        self.settings = settings
        self._gateway = gateway
        self._doors = doors
        self._line = line
        self._lock = asyncio.Lock()
        self._taking: set[asyncio.Task[None]] = set()
        line.hear("configuration", self._on_configuration)

    def close(self) -> None:
        """The relay stops: nothing is taken any more."""
        for task in self._taking:
            task.cancel()

    def _on_configuration(self, message: Message) -> None:
        task = asyncio.get_running_loop().create_task(self._take(message))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _take(self, message: Message) -> None:
        sealed, *sockets = message.files
        async with self._lock:
            fault = None
            try:
                taken = snapshot.read(sealed)
                if not isinstance(self._gateway, Changing):
                    raise TypeError("this gateway takes no other configuration")
                listeners = taken.settings.listeners
                self._gateway.take(taken)
                await self._doors.open(listeners, sockets[: len(listeners)], sockets[len(listeners) :])
                self.settings = taken.settings
            except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor is told, and says so to people
                fault = f"{type(error).__name__}: {error}"[:LONGEST_FAULT]
            finally:
                os.close(sealed)
        self._line.say({"took": message.content["configuration"], "fault": fault})


def _neighbours(fds: Sequence[int], listeners: Sequence[Listener], gateway: Gateway) -> Neighbours:
    """The other relays' sockets; one that cannot adopt leaves what waits there to their replacements."""
    opened = [socket.socket(fileno=fd) for fd in fds]
    others = len(opened) // len(listeners) if listeners else 0
    pairs = [(each, listeners[at // others]) for at, each in enumerate(opened)]
    is_busy = gateway.is_overloaded if isinstance(gateway, Sparing) else lambda: False
    neighbours = Neighbours(pairs, gateway.adopt if isinstance(gateway, Adopting) else None, is_busy)
    neighbours.start()
    return neighbours


def _beat(page: Page, sender: Sender) -> None:
    page.beat(sender.dropped)
    asyncio.get_running_loop().call_later(HEARTBEAT, _beat, page, sender)


if __name__ == "__main__":
    run(work, last_words=False)
