"""The relay process: takes up its charge, runs a gateway on uvloop, drains when told to.

Law: life and death of the process only. What a relay *does* is built by ``keystile.app`` and stands in
``keystile.relay``; tests put a smaller one in through the charge's ``factory``.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from keystile.config.model import Listener
from keystile.limits.descriptors import raise_limit
from keystile.limits.slots import SlotTable
from keystile.process import snapshot
from keystile.process.channel import Sender
from keystile.process.charge import Charge, Line, run
from keystile.process.memory import CounterPages, Page
from keystile.process.neighbours import Neighbours

HEARTBEAT = 0.25
"""Seconds between signs of life."""


class Gateway(Protocol):
    """What a relay process runs."""

    async def start(self) -> None:
        """Get ready to serve (load keys, start what runs beside). Raises whatever keeps it from that."""

    async def listen(self, opened: socket.socket, listener: Listener) -> None:
        """Accept connections from a shared listening socket."""

    async def drain(self) -> None:
        """Accept no more, finish requests in flight, within ``drain_timeout``."""

    def close(self) -> None:
        """Close what is still open."""


@runtime_checkable
class Adopting(Protocol):
    """A gateway that can also serve a connection that was accepted for it."""

    async def adopt(self, accepted: socket.socket, listener: Listener) -> None:
        """Serve an accepted, non-blocking connection as if it had been accepted by ``listener``'s socket."""


Factory = Callable[[snapshot.Snapshot, SlotTable, Sender, Callable[[Sequence[int]], None]], Gateway]


async def work(charge: Charge, line: Line) -> None:
    """From the charge to the end of the drain."""
    raise_limit()
    taken = snapshot.read(charge.snapshot)
    slots = SlotTable.attach(charge.slots)
    slots.claim_column()
    sender = Sender(socket.socket(fileno=charge.channel))
    page = CounterPages.attach(charge.counters).page(charge.place)
    build: Factory = charge.made()
    gateway = build(taken, slots, sender, page.store)
    await gateway.start()
    for fd, listener in zip(charge.listeners, taken.settings.listeners, strict=True):
        await gateway.listen(socket.socket(fileno=fd), listener)
    neighbours = _neighbours(charge, taken.settings.listeners, gateway)
    page.open()
    _beat(page, sender)
    # What was loaded stays: a collection that looked at every key again would hold up requests.
    gc.collect()
    gc.freeze()
    line.ready()
    await line.stop.wait()
    neighbours.close()
    await gateway.drain()
    gateway.close()
    page.beat(sender.dropped)


def _neighbours(charge: Charge, listeners: Sequence[Listener], gateway: Gateway) -> Neighbours:
    """The other relays' sockets; one that cannot adopt leaves what waits there to their replacements."""
    opened = [socket.socket(fileno=fd) for fd in charge.neighbours]
    others = len(opened) // len(listeners) if listeners else 0
    pairs = [(each, listeners[at // others]) for at, each in enumerate(opened)]
    neighbours = Neighbours(pairs, gateway.adopt if isinstance(gateway, Adopting) else None)
    neighbours.start()
    return neighbours


def _beat(page: Page, sender: Sender) -> None:
    page.beat(sender.dropped)
    asyncio.get_running_loop().call_later(HEARTBEAT, _beat, page, sender)


if __name__ == "__main__":
    run(work, last_words=False)
