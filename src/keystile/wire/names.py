"""The addresses of one server: of a literal address itself, of a host name those that it had when last looked up.

Law: names in, addresses out; nothing is connected to here. Looking up never holds up the loop (it runs in another
thread), never takes away what is known when it fails, and happens once at a time for a name, however many wait.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final

log = logging.getLogger("keystile.wire")

#: Seconds for which an address that could not be connected to comes after the others.
PUT_LAST_FOR: Final = 10.0
#: Seconds after which a name is looked up again that could not be, while nothing is known of it.
AGAIN_AFTER: Final = 1.0
#: Seconds between two lines that say that a name cannot be looked up.
LOG_PAUSE: Final = 60.0

Lookup = Callable[[str], Awaitable[list[str]]]
"""All addresses of a name. Raises OSError."""


class Addresses:
    """The addresses of ``host``; ``every``: seconds after which a name is looked up again."""

    def __init__(
        self, host: str, every: float, look_up: Lookup | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.host = host
        self.is_name = not _is_literal(host)
        self.known: tuple[str, ...] = () if self.is_name else (host,)
        self._every = every
        self._look_up = look_up or _look_up
        self._clock = clock or asyncio.get_running_loop().time
        self._due = float("-inf")
        self._silent_until = float("-inf")
        self._failed: dict[str, float] = {}
        self._turn = 0
        self._looking: asyncio.Task[bool] | None = None

    async def in_turn(self) -> list[str]:
        """Every address once, beginning with the one whose turn it is. Raises OSError where none is known."""
        if not self.known:
            await self.refresh()
        known = self.known
        if len(known) == 1:
            return list(known)
        self._turn = first = (self._turn + 1) % len(known)
        now = self._clock()
        turned = known[first:] + known[:first]
        return sorted(turned, key=lambda address: self._failed.get(address, 0.0) > now)

    def failed(self, address: str) -> None:
        """It could not be connected to: others come first for a while. A machine without IPv6 pays only once."""
        if len(self.known) > 1:
            self._failed[address] = self._clock() + PUT_LAST_FOR

    def due(self) -> bool:
        """Whether it is time to look the name up again; never for a literal address."""
        return self.is_name and self._looking is None and self._clock() >= self._due

    async def refresh(self) -> bool:
        """Look the name up; returns whether an address has gone. Raises OSError only where none is known."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._refresh())
            self._looking.add_done_callback(self._looked)
        # Who waits may run out of time, or leave: the others still want to know.
        return await asyncio.shield(self._looking)

    def _looked(self, task: asyncio.Task[bool]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # told to who waited, and logged

    async def _refresh(self) -> bool:
        try:
            found = tuple(dict.fromkeys(await self._look_up(self.host)))
        except OSError as error:
            self._due = self._clock() + (self._every if self.known else min(self._every, AGAIN_AFTER))
            self._say(error)
            if self.known:
                return False
            raise
        self._due = self._clock() + self._every
        before, self.known = self.known, found or self.known
        self._failed = {address: until for address, until in self._failed.items() if address in self.known}
        return not set(before) <= set(self.known)

    def _say(self, error: OSError) -> None:
        now = self._clock()
        if now >= self._silent_until:
            self._silent_until = now + LOG_PAUSE
            rest = "the addresses that it had are used on" if self.known else "none is known"
            log.warning("the upstream server %s cannot be looked up (%s); %s", self.host, error, rest)


async def _look_up(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
