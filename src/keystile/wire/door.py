"""A listening socket whose connections need something before the first request: PROXY protocol, TLS, or both.

Law: who may come in, and from whom a header is believed; no HTTP. Plain listeners need no door: there the
loop accepts by itself, faster than Python can.

A door counts a connection when it is accepted, so that TLS handshakes that never end count as well; a
handshake costs the most CPU of all that a stranger can ask for.

The header of the PROXY protocol comes in clear, before TLS. It is looked at with MSG_PEEK and exactly its
bytes are taken, so what follows is untouched, and TLS begins on a fresh socket: loops cannot be given bytes
that were read too much. What has come of an unfinished header is taken at once, otherwise the socket would
report forever that there is something to read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final, Protocol

from keystile.limits.crowd import EXEMPT
from keystile.limits.descriptors import EXHAUSTED
from keystile.wire.application import Application
from keystile.wire.client import ClientConnection
from keystile.wire.peer import Address, parse_address
from keystile.wire.plain_door import BACKLOG, HELD_BACKLOG, accepted_from, shorten
from keystile.wire.proxy_protocol import MAX_V2, BadProxyHeader, ProxyHeader, read_proxy_header
from keystile.wire.tls_gate import ATTEMPT, Attempt
from keystile.wire.tls_transport import Securing, TlsConnection

#: Connections accepted in one turn of the loop; the rest wait for the next, so that requests have their turn.
AT_ONCE: Final = 32
#: Seconds without accepting after the process or the machine ran out of descriptors or memory.
PAUSE_SECONDS: Final = 0.2


class TurnedAway(Enum):
    """Why a connection was closed before its first request: one closed list."""

    TOO_MANY = auto()  # connections, of its address or in all
    UNTRUSTED = auto()  # it came to a listener with PROXY protocol, and is no trusted proxy
    BAD_HEADER = auto()  # a trusted proxy did not begin with a PROXY protocol header, or not in time


class Keeper(Application, Protocol):
    """What a door needs to know and to tell."""

    loop: asyncio.AbstractEventLoop
    newcomers: set[Newcomer]

    def crowd_name(self, ip: Address) -> bytes:
        """By which name connections from ``ip`` are counted; ``EXEMPT`` where it is a trusted proxy."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside."""

    def turned_away(self, why: TurnedAway, detail: str) -> None:
        """A connection was closed before its first request: count it. ``detail``: for the log, may be empty."""

    def gave_up(self) -> None:
        """A TLS handshake did not end: its client left."""


class Door:
    """``tls``: None for a plain listener. ``make``: makes its connections."""

    def __init__(
        self, keeper: Keeper, tls: Securing | None, make: Callable[[], ClientConnection], *, proxy_protocol: bool
    ) -> None:
        self.keeper = keeper
        self.tls = tls
        self._make = make
        self.proxy_protocol = proxy_protocol
        self._listening: socket.socket | None = None
        self._held = False

    # -- accepting --------------------------------------------------------------------------------

    def open(self, listening: socket.socket) -> None:
        """Accept from now on. ``listening`` does not block."""
        self._listening = listening
        self.keeper.loop.add_reader(listening.fileno(), self._accept, listening)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Where it accepts from, while it does."""
        return () if self._listening is None else (self._listening,)

    def stop(self) -> None:
        """Accept no more; who has come in may go on."""
        listening, self._listening = self._listening, None
        if listening is not None:
            self.keeper.loop.remove_reader(listening.fileno())
            if self._held:
                shorten(listening, BACKLOG)  # others may accept from it on
            listening.close()

    def close(self) -> None:
        """Accept no more; who has come in and not got through is closed."""
        self.stop()
        for newcomer in [each for each in self.keeper.newcomers if each.door is self]:
            newcomer.close()

    def hold(self) -> None:
        """Let nobody in but who is fetched: a handshake costs the most of all (``plain_door.py`` has the reasons)."""
        self._held = True
        if self._listening is not None:
            self.keeper.loop.remove_reader(self._listening.fileno())
            shorten(self._listening, HELD_BACKLOG)

    def go_on(self) -> None:
        """Accept again."""
        self._held = False
        if self._listening is not None:
            shorten(self._listening, BACKLOG)
            self._resume(self._listening)

    def fetch(self) -> socket.socket | None:
        """Somebody who waits, not blocking; None where nobody does."""
        return None if self._listening is None else accepted_from(self._listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = listening.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(listening)
                return  # or nobody is there any more, or who was there has gone
            accepted.setblocking(False)
            self.welcome(accepted)

    def _pause(self, listening: socket.socket) -> None:
        """The kernel would say at once again that somebody waits, and nothing else would ever run."""
        self.keeper.loop.remove_reader(listening.fileno())
        self.keeper.loop.call_later(PAUSE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if self._listening is listening and not self._held:
            self.keeper.loop.add_reader(listening.fileno(), self._accept, listening)

    # -- coming in --------------------------------------------------------------------------------

    def welcome(self, accepted: socket.socket) -> None:
        """Let an accepted connection in, or close it."""
        keeper = self.keeper
        try:
            ip = parse_address(accepted.getpeername()[0])
        except OSError:  # it has gone again
            accepted.close()
            return
        name = keeper.crowd_name(ip)
        if self.proxy_protocol and name != EXEMPT:
            self._turn_away(accepted, TurnedAway.UNTRUSTED, str(ip))
        elif not keeper.crowd.enter(name):
            self._turn_away(accepted, TurnedAway.TOO_MANY)
        elif self.proxy_protocol:
            Newcomer(self, accepted)
        else:
            self._begin(accepted, name, str(ip), None)

    def announced(self, accepted: socket.socket, header: ProxyHeader) -> None:
        """The header of a trusted proxy has been read: from now on the connection is its client's."""
        crowd = self.keeper.crowd
        name, who = EXEMPT, str(header.source or parse_address(_peer_name(accepted)))
        if header.source is not None:
            name = self.keeper.crowd_name(header.source)
            crowd.leave(EXEMPT)
            if not crowd.enter(name):
                self._turn_away(accepted, TurnedAway.TOO_MANY)
                return
        self._begin(accepted, name, who, header)

    def disappointed(self, accepted: socket.socket, detail: str | None) -> None:
        """A trusted proxy did not say what it must (``detail``), or said nothing and left (None)."""
        self.keeper.crowd.leave(EXEMPT)
        if detail is None:
            accepted.close()
        else:
            self._turn_away(accepted, TurnedAway.BAD_HEADER, detail)

    def _turn_away(self, accepted: socket.socket, why: TurnedAway, detail: str = "") -> None:
        accepted.close()
        self.keeper.turned_away(why, detail)

    def _begin(self, accepted: socket.socket, name: bytes, who: str, header: ProxyHeader | None) -> None:
        client = self._make()
        client.counted = name
        client.announced = header
        self.keeper.spawn(self._connect(accepted, client, who))

    async def _connect(self, accepted: socket.socket, client: ClientConnection, who: str) -> None:
        """Hand the socket to the loop; with TLS this takes as long as the handshake."""
        if self.tls is not None:
            await self._shake(accepted, client, who, self.tls)
            return
        try:
            await self.keeper.loop.connect_accepted_socket(lambda: client, accepted)
        except OSError:
            pass  # it has gone again
        finally:
            if not client.made:  # nobody else knows of it
                client.uncount()
                accepted.close()

    async def _shake(self, accepted: socket.socket, client: ClientConnection, who: str, tls: Securing) -> None:
        attempt = Attempt(who)
        ATTEMPT.set(attempt)  # in this task's own context
        between = TlsConnection(client, tls, self.keeper.loop)
        try:
            await self.keeper.loop.connect_accepted_socket(lambda: between, accepted)
            await between.settled
        except OSError:
            accepted.close()
        finally:
            if not attempt.ended:
                self.keeper.gave_up()
            if not client.made:
                client.uncount()
                between.abort()


def last_of(listening: socket.socket) -> list[socket.socket]:
    """Those who wait to be accepted; from now on connections are refused.

    Even where other processes have the socket too: a mere close would leave newcomers waiting until the last of them
    has closed it, and reset them then.
    """
    listening.setblocking(False)
    accepted: list[socket.socket] = []
    with suppress(OSError):  # nobody is there any more
        while True:
            accepted.append(listening.accept()[0])
    with suppress(OSError):  # it has been shut down already
        listening.shutdown(socket.SHUT_RDWR)
    for each in accepted:
        each.setblocking(False)
    return accepted


def _peer_name(accepted: socket.socket) -> str:
    try:
        return str(accepted.getpeername()[0])
    except OSError:
        return "0.0.0.0"  # it has gone again


class Newcomer:
    """A trusted proxy's connection whose header has not come yet; ``due`` as for connections."""

    __slots__ = ("accepted", "door", "due", "held")

    def __init__(self, door: Door, accepted: socket.socket) -> None:
        self.door = door
        self.accepted = accepted
        self.held = b""
        keeper = door.keeper
        self.due = keeper.clock.now + keeper.head_time
        keeper.newcomers.add(self)
        keeper.loop.add_reader(accepted.fileno(), self._look)

    def _look(self) -> None:
        try:
            seen = self.accepted.recv(MAX_V2, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            seen = b""
        if not seen:
            # Health checks of load balancers connect and leave.
            self._end("it ends too early" if self.held else None)
            return
        try:
            header = read_proxy_header(self.held + seen)
        except BadProxyHeader as error:
            self._end(str(error))
            return
        self.held += self.accepted.recv(len(seen) if header is None else header.size - len(self.held))
        if header is not None and len(self.held) == header.size:
            self._leave()
            self.door.announced(self.accepted, header)

    def out_of_time(self) -> None:
        """The header did not come in time."""
        self._end("it does not come in time")

    def close(self) -> None:
        """The relay goes."""
        self._end(None)

    def _end(self, detail: str | None) -> None:
        self._leave()
        self.door.disappointed(self.accepted, detail)

    def _leave(self) -> None:
        self.door.keeper.newcomers.discard(self)
        self.door.keeper.loop.remove_reader(self.accepted.fileno())
