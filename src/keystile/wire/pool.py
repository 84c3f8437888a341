"""The connections to an upstream's server that are clean, and new ones.

Law: a connection is given out only when nothing has arrived on it unasked, the one used last first; how one is used,
and when it is clean, is ``upstream.py``'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keystile.wire import unix
from keystile.wire.names import Addresses
from keystile.wire.upstream import UpstreamConnection

#: Seconds for which a connection may lie unused. Node.js closes after 5 s: so we mostly close first.
IDLE_SECONDS: Final = 4.0
#: Seconds between two tries to connect to a Unix socket whose queue is full: the kernel tells no moment to try again.
QUEUE_PAUSE: Final = 0.02


class Pool:
    """The connections to one server: ``host`` and ``port``; ``connect_timeout`` and ``resolve_every`` in seconds.

    ``counts``: it is known how many requests the server has. A connection counts from when it is given out until it is
    put back or lost, and before that while it is being made. Both are sets of what is there, not a number that could
    be counted down twice.
    """

    #: The server's name as JSON, from whoever has given it one.
    quoted_name = b"null"

    def __init__(
        self, host: str, port: int, connect_timeout: float, resolve_every: float = 30.0, *, counts: bool = False
    ) -> None:
        self.host = host
        self.port = port
        self.connect_timeout = connect_timeout
        self.addresses = Addresses(host, resolve_every)
        self.closed = False
        #: Called when there is room for one more; never where nobody counts.
        self.freed: Callable[[], None] = _nobody
        #: Not every connection is kept any more: the pool is closed, or an address has gone from the server's name.
        self._drains = False
        self._idle: list[UpstreamConnection] = []
        self._out: set[UpstreamConnection] | None = set() if counts else None
        self._reserved = 0
        self._loop = asyncio.get_running_loop()

    def take(self) -> UpstreamConnection | None:
        """A connection that is ready, the one used last first; None when there is none."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.silent():
                if self._out is not None:
                    self._out.add(connection)
                return connection
            connection.abort()
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises ``OSError``; ``TimeoutError`` is one."""
        connection = await self._connect()
        if self._out is not None:
            self._out.add(connection)
        return connection

    async def _connect(self) -> UpstreamConnection:
        """A new connection, to the first of the server's addresses that takes it. Raises ``OSError``.

        ``TimeoutError`` is one. All addresses together have ``connect_timeout``, each its share of what is left.
        """
        give_up = self._loop.time() + self.connect_timeout
        async with asyncio.timeout(self.connect_timeout):
            addresses = await self.addresses.in_turn()
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                connection = await self._open(address, max(0.0, give_up - self._loop.time()) / left)
            except OSError:
                self.addresses.failed(address)
                if left == 1:
                    raise
            else:
                connection.address = address
                return connection
        raise ConnectionError(f"{self.host} has no address")

    async def _open(self, address: str, within: float) -> UpstreamConnection:
        async with asyncio.timeout(within):
            _, connection = await self._loop.create_connection(lambda: UpstreamConnection(self), address, self.port)
        return connection

    def put_back(self, connection: UpstreamConnection) -> None:
        """A connection after a clean exchange."""
        if self._drains and (self.closed or connection.address not in self.addresses.known):
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._out is not None:
            self.lost(connection)

    @property
    def in_flight(self) -> int:
        """Connections in use or being made; 0 where nobody counts."""
        return 0 if self._out is None else len(self._out) + self._reserved

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has ended, and counts no more; told at least once of each."""
        if self._out is not None and connection in self._out:
            self._out.discard(connection)
            self.freed()

    def reserve(self) -> None:
        """A connection is going to be made: it counts from now on, before anything is awaited."""
        self._reserved += 1

    def unreserve(self) -> None:
        """It has been made and counts by itself, or could not be."""
        self._reserved -= 1
        if self._out is not None:
            self.freed()

    async def look_up(self) -> None:
        """Look the server's name up again; connections to addresses that it has lost are closed after their use."""
        try:
            gone = await self.addresses.refresh()
        except OSError:
            return  # none is known; that has been logged, and whoever connects is told
        if gone:
            self._drains = True
            known = self.addresses.known
            idle, self._idle = self._idle, [one for one in self._idle if one.address in known]
            for connection in idle:
                if connection.address not in known:
                    connection.abort()

    def close_unused(self, now: float) -> None:
        """Close what has lain unused for long, and what its server has closed; once a second."""
        kept: list[UpstreamConnection] = []
        for connection in self._idle:
            if now - connection.idle_since < IDLE_SECONDS and connection.silent():
                kept.append(connection)
            else:
                connection.abort()
        self._idle = kept

    def close(self) -> None:
        """Close every unused connection, and each other one when it has been used."""
        self.closed = self._drains = True
        while self._idle:
            self._idle.pop().abort()


class UnixPool(Pool):
    """The connections to what listens on the Unix socket at ``path``.

    The socket outlives whoever answers on it: a connection made while nobody does waits in its queue, and so does
    the request written to it.
    """

    def __init__(self, path: Path, connect_timeout: float, *, counts: bool = False) -> None:
        super().__init__("::", 0, connect_timeout, counts=counts)  # no name that anybody would look up
        self._path = path

    async def _connect(self) -> UpstreamConnection:
        """A new connection. Raises ``TimeoutError`` (the queue stays full) or another ``OSError``."""
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(self.connect_timeout):
                while not self._connected(opened):  # noqa: ASYNC110 - the kernel tells of no moment to wait for
                    await asyncio.sleep(QUEUE_PAUSE)
                _, connection = await self._loop.create_unix_connection(lambda: UpstreamConnection(self), sock=opened)
            connection.address = self.addresses.host
        except BaseException:  # a time-out and a cancellation among them: nobody else knows the socket
            opened.close()
            raise
        return connection

    def _connected(self, opened: socket.socket) -> bool:
        """Connect now; False where the queue is full (unix(7): EAGAIN)."""
        try:
            with unix.short(self._path) as place:
                opened.connect(place)
        except BlockingIOError:
            return False
        return True


def _nobody() -> None:
    """Nobody waits."""
