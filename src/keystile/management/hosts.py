"""The hosts that share the store: this one says who it is every few seconds, and what all have said is kept at hand.

Law: no request waits for it, and it never ends: a database that is away, or anything else, costs only what is shown.
What is shown was looked at with the last saying, so a page asks nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from keystile.management.metrics import Sample
from keystile.storage.errors import StoreError
from keystile.storage.hosts import Host, HostSays, HostState, id_of, new_id, states_of

EVERY: Final = 2.0
"""Seconds between two sayings."""
LEAVE_WITHIN: Final = 1.0
"""Seconds that the end of this process waits for the row to be taken away; else it shows for a day as not heard of."""
log = logging.getLogger(__name__)


class Table(Protocol):
    """Where the hosts write and read (``storage/postgresql/hosts.py``). Everything may raise StoreError."""

    async def print_key(self) -> bytes:
        """What prints are made with."""

    async def say(self, says: HostSays, *, anew: bool) -> bool:
        """Write this host's row; False where another gateway has its id."""

    async def all(self) -> tuple[Host, ...]:
        """Every host."""

    async def leave(self, host_id: str, run: str) -> None:
        """Take the row away."""

    async def close(self) -> None:
        """Let go of the connection, without waiting for an answer."""


Says = Callable[[str, bytes], Awaitable[HostSays | None]]
"""What this host says under this id, with a print made with this key; None while another process speaks for it."""


class Hosts:
    """Says and looks, until it is cancelled. ``mirror``: beside it lies the file with this host's id."""

    def __init__(
        self, table: Table, mirror: Path, says: Says, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._mirror = mirror
        self._says = says
        self._clock = clock
        self._key: bytes | None = None
        self._said: HostSays | None = None
        self._known: tuple[Host, ...] = ()
        self._looked = clock()
        self.trouble = ""
        """Why the last saying has failed; empty where it has not."""

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.speak()
            except Exception as fault:  # noqa: BLE001 - whatever it is, no host ends because it cannot be told of
                self._say(fault)
            await asyncio.sleep(EVERY)

    async def speak(self) -> None:
        """Say who this is, and look who else has. Raises StoreError."""
        if self._key is None:
            self._key = await self._table.print_key()
        host_id = await asyncio.to_thread(id_of, self._mirror)
        says = await self._says(host_id, self._key)
        if says is not None and not await self._table.say(says, anew=self._said is None or self._said.id != host_id):
            log.warning("another host has this one's id (was its folder copied?), so this one has a new one")
            await asyncio.to_thread(new_id, self._mirror)
            self._said = None
            await self.speak()
            return
        self._said = says
        self._known, self._looked = await self._table.all(), self._clock()
        if self.trouble:
            log.warning("the hosts can be told of again")
            self.trouble = ""

    async def close(self, *, stays: bool) -> None:
        """Let go; ``stays``: another process goes on speaking for this host, else its row is taken away."""
        if self._said is not None and not stays:
            await _at_the_end(self._table.leave(self._said.id, self._said.run))
        await _at_the_end(self._table.close())

    def states(self) -> tuple[HostState, ...]:
        """The hosts as they were at the last look, and how long ago each was heard of by now."""
        return states_of(self._known, None if self._said is None else self._said.id, self._clock() - self._looked)

    def samples(self) -> list[Sample]:
        """How many were heard of, and how many of these differ from this one."""
        heard = [each for each in self.states() if each.is_heard]
        return [
            ("hosts", "", len(heard)),
            ("hosts_other_configuration", "", sum(each.other_settings for each in heard)),
            ("hosts_other_program", "", sum(each.other_program for each in heard)),
        ]

    def _say(self, fault: Exception) -> None:
        if not self.trouble:
            bug = None if isinstance(fault, StoreError) else fault
            log.warning("the hosts cannot be told of: %s", fault, exc_info=bug)
        self.trouble = fault.why if isinstance(fault, StoreError) else type(fault).__name__


async def _at_the_end(work: Awaitable[None]) -> None:
    """Whatever happens to it, what is closed after this (uses that are not written yet) must still be."""
    try:
        async with asyncio.timeout(LEAVE_WITHIN):  # a database that stands still would hold up the end
            await work
    except (StoreError, TimeoutError):
        return  # nobody looks any more, and the others see that this one is silent
    except Exception:
        log.exception("this host could not take leave of the others")
