"""Neighbours: connections that wait in another relay's queue are fetched from there.

Law: it accepts and hands over; what a connection is for is not its affair. Every relay has a listening
socket of its own and looks a few times a second into those of the others. One that works takes its
connections at once, so nothing is found there; what is found waits for a relay that is dead, stopped or
busy, and is better served here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from keystile.config.model import Listener
from keystile.process.log import log

EVERY = 0.05
"""Seconds between two looks: what a connection waits at most for a relay that does not come."""
AT_ONCE = 32
"""Connections fetched from one socket in one look."""
Adopt = Callable[[socket.socket, Listener], Awaitable[None]]


class Neighbours:
    """The listening sockets of the other relays. ``adopt`` None: they are only held. Needs a running loop."""

    def __init__(self, sockets: Sequence[tuple[socket.socket, Listener]], adopt: Adopt | None) -> None:
        self._sockets = list(sockets)
        self._adopt = adopt
        self._timer: asyncio.TimerHandle | None = None
        self._adopting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Look from now on, again and again."""
        if self._adopt is None or not self._sockets:
            return
        for opened, _ in self._sockets:
            opened.setblocking(False)
        self._look(self._adopt)

    def close(self) -> None:
        """Look no more and let go of the sockets."""
        if self._timer is not None:
            self._timer.cancel()
        for opened, _ in self._sockets:
            opened.close()

    def _look(self, adopt: Adopt) -> None:
        for opened, listener in self._sockets:
            for _ in range(AT_ONCE):
                try:
                    accepted, _ = opened.accept()
                except OSError:  # nothing there (EAGAIN); out of descriptors or gone again: at the next look
                    break
                accepted.setblocking(False)
                self._hand_over(adopt, accepted, listener)
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._look, adopt)

    def _hand_over(self, adopt: Adopt, accepted: socket.socket, listener: Listener) -> None:
        async def work() -> None:
            try:
                await adopt(accepted, listener)
            except (OSError, asyncio.IncompleteReadError) as error:  # a handshake that failed, as they do
                log(f"a connection fetched from another relay was not served: {error}")
                accepted.close()

        task = asyncio.get_running_loop().create_task(work())
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)
