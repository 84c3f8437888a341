"""A plain listening socket: the loop accepts from it, until it is held.

Law: accepting or not; what becomes of a connection is not its affair. The loop's own accept is the fastest there is and
cannot be interrupted, so while the door is held the loop's server is gone, and whoever holds the door fetches.

While it is held the kernel keeps only a few that wait; whoever comes beyond them hears nothing and tries again after a
second, as TCP does, and costs nothing here. A connection that we refuse ourselves costs as much as a request.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from socket import IPPROTO_TCP, TCP_INFO
from typing import Any, Final, Protocol

from keystile.wire.client import ClientConnection

#: Connections that may wait in the kernel.
BACKLOG: Final = 4096
#: The same while the door is held: what can be fetched within a few looks.
HELD_BACKLOG: Final = 16
#: ``tcpi_last_data_recv`` of ``struct tcp_info``: milliseconds since data came last, or else since the connection did.
_LAST_DATA: Final = struct.Struct("=I")
_LAST_DATA_AT: Final = 52


class Way(Protocol):
    """What can be held: a door of either kind."""

    def close(self) -> None:
        """Accept no more."""

    def hold(self) -> None:
        """Let nobody in but who is fetched."""

    def go_on(self) -> None:
        """Accept again."""

    def fetch(self) -> socket.socket | None:
        """Somebody who waits while it is held, or None."""


class PlainDoor:
    """``listening`` listens already, does not block, and is ours. ``spawn`` runs a coroutine beside."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        make: Callable[[], ClientConnection],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._make = make
        self._spawn = spawn
        self._server: asyncio.Server | None = None
        self._held = False
        self._closed = False

    async def open(self) -> None:
        """Accept from now on. The loop's server gets a descriptor of its own, since it closes the one it has."""
        if self._server is not None or not self._is_wanted():
            return
        self._server = await self._loop.create_server(self._make, sock=self._listening.dup(), backlog=BACKLOG)
        if not self._is_wanted():  # any more
            self._stop()

    def _is_wanted(self) -> bool:
        return not (self._held or self._closed)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """What is accepted from: one, or none any more."""
        return () if self._closed else (self._listening,)

    def close(self) -> None:
        """Accept no more. Others may accept from the socket on, so it keeps as many that wait as ever."""
        if self._closed:
            return
        self._closed = True
        self._stop()
        if self._held:
            shorten(self._listening, BACKLOG)
        self._listening.close()

    def hold(self) -> None:
        """See the module."""
        self._held = True
        self._stop()
        if not self._closed:
            shorten(self._listening, HELD_BACKLOG)

    def go_on(self) -> None:
        """Leave accepting to the loop again."""
        self._held = False
        if not self._closed:
            shorten(self._listening, BACKLOG)
            self._spawn(self.open())

    def fetch(self) -> socket.socket | None:
        """Somebody who waits, not blocking; None where nobody does."""
        return None if self._closed else accepted_from(self._listening)

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()


def shorten(listening: socket.socket, backlog: int) -> None:
    """Let the kernel keep so many that wait; those who wait already stay."""
    listening.listen(backlog)


def accepted_from(listening: socket.socket) -> socket.socket | None:
    """A connection that waits, not blocking; None where there is none."""
    try:
        accepted, _ = listening.accept()
    except OSError:
        return None
    accepted.setblocking(False)
    return accepted


def waited(accepted: socket.socket) -> float:
    """Seconds since data came on a connection last; where none has, since it was made (tcp(7), Linux)."""
    known = accepted.getsockopt(IPPROTO_TCP, TCP_INFO, _LAST_DATA_AT + 4)
    if len(known) < _LAST_DATA_AT + 4:
        return 0.0  # not TCP, or a kernel that tells less
    return float(_LAST_DATA.unpack_from(known, _LAST_DATA_AT)[0]) / 1000
