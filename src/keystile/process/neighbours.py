"""Neighbours: connections that wait in another relay's queue are fetched from there.

Law: it accepts and hands over; what a connection is for is not its affair. Every relay has a listening
socket of its own and looks a few times a second into those of the others. One that works takes its
connections at once, so nothing is found there; what is found waits for a relay that is dead, stopped or
busy, and is better served here. While this relay has more to do than it can do itself, it leaves them there.
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
    """The listening sockets of the other relays. ``adopt`` None: they are only held. Needs a running loop.

    ``is_busy``: whether nothing shall be fetched at this moment.
    """

    def __init__(
        self,
        sockets: Sequence[tuple[socket.socket, Listener]],
        adopt: Adopt | None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._sockets = list(sockets)
        self._adopt = adopt
        self._is_busy = is_busy
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
        if not self._is_busy():
            for opened, listener in self._sockets:
                self._look_into(opened, listener, adopt)
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._look, adopt)

    def _look_into(self, opened: socket.socket, listener: Listener, adopt: Adopt) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = opened.accept()
            except OSError:  # nothing there (EAGAIN); out of descriptors or gone again: at the next look
                return
            accepted.setblocking(False)
            self._hand_over(adopt, accepted, listener)

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
