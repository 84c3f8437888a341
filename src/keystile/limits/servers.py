"""What is known of the upstreams' servers, in shared memory: a page that management writes, and one for each relay.

Law: one byte for each server, and whose configuration they are of; what to do with it is not known here. A page
has one writer. Servers are numbered as they stand in the settings, so bytes mean something only to who works by
the configuration of that number: everybody else reads nothing, and two that differ are never taken for one.

A page: its configuration's number (0 while it is being written), when it was written, how many bytes follow, and
these. The supervisor empties the page of a relay that has died.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

from keystile.config.model import Settings

PAGE: Final = 4096
_CONFIGURATION, _WRITTEN, _COUNT = range(3)
_FIRST: Final = 24
#: How many servers a page has room for.
MOST_SERVERS: Final = PAGE - _FIRST
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

#: What a byte says: nothing is known; the server is used; it is left out; one request is trying it.
UNKNOWN, UP, DOWN, TRIED = range(4)


@dataclass(frozen=True, slots=True)
class Said:
    """What a page says, and how many seconds ago it was written."""

    states: bytes
    age: float


class ServerPage:
    """One page."""

    def __init__(self, memory: memoryview) -> None:
        self._words = memory[:_FIRST].cast("Q")
        self._bytes = memory[_FIRST:]

    def write(self, configuration: int, states: bytes) -> None:
        """Say it. For the one writer of the page; what there is no room for is not said."""
        words = self._words
        states = states[:MOST_SERVERS]
        words[_CONFIGURATION] = 0
        self._bytes[: len(states)] = states
        words[_COUNT] = len(states)
        words[_WRITTEN] = time.monotonic_ns()
        words[_CONFIGURATION] = configuration

    def clear(self) -> None:
        """Say nothing. For whoever knows that its writer has gone."""
        self._words[_CONFIGURATION] = 0

    def read(self, configuration: int) -> Said | None:
        """What it says to who works by this configuration; None where it is another's, or being written."""
        words = self._words
        if words[_CONFIGURATION] != configuration:
            return None
        written = words[_WRITTEN]
        states = bytes(self._bytes[: min(words[_COUNT], MOST_SERVERS)])
        if words[_CONFIGURATION] != configuration or words[_WRITTEN] != written:
            return None
        return Said(states, max(0, time.monotonic_ns() - written) / 1e9)


class ServerTable:
    """All pages: 0 is management's, relays have the others."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.pages = len(self._map) // PAGE

    @classmethod
    def create(cls, relays: int) -> ServerTable:
        """Pages for this many relays, in a sealed memfd; ``fd`` is handed to children."""
        fd = os.memfd_create("keystile-servers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(fd, (relays + 1) * PAGE)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return cls(fd)

    @classmethod
    def attach(cls, fd: int) -> ServerTable:
        """The pages behind an inherited descriptor."""
        return cls(fd)

    def close(self) -> None:
        """Let go of the descriptor; the memory goes with the last page."""
        os.close(self.fd)

    def page(self, number: int) -> ServerPage:
        """Page ``number``. Raises ValueError where there is none."""
        if not 0 <= number < self.pages:
            raise ValueError(f"no page {number}")
        return ServerPage(memoryview(self._map)[number * PAGE : (number + 1) * PAGE])

    def relays(self, configuration: int) -> list[bytes]:
        """What the relays say that work by this configuration."""
        said = [self.page(number).read(configuration) for number in range(1, self.pages)]
        return [one.states for one in said if one is not None]


class Pages(NamedTuple):
    """What one relay has of it: ``checks`` to read, and its ``own`` to write."""

    checks: ServerPage
    own: ServerPage


def numbered(settings: Settings) -> dict[str, int]:
    """The number of each upstream's first server; the others follow it."""
    numbers, at = {}, 0
    for upstream in settings.upstreams:
        numbers[upstream.name] = at
        at += len(upstream.servers)
    return numbers
