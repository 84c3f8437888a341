"""A raw upstream that counts what is in flight for each client address, and answers when it is told to.

Law: it believes X-Forwarded-For of the gateway and nothing else. The path says how a request is answered:
``/soak/now`` at once, ``/soak/for/MS`` after so many milliseconds, ``/soak/hold`` when ``release`` is called.

A relay that was killed has closed its connections before its slots are given back, but this process may read
the newcomer before it reads the end of the dead one's. So above the cap it looks into the sockets: what has
ended in the kernel is no longer in flight. What is still above the cap then is ``over``.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections import Counter
from collections.abc import Callable
from typing import cast

from tests.soak.answers import REQUEST_ID

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FORWARDED = re.compile(rb"(?i)\r\nx-forwarded-for: *([0-9.]+)\r")
CLIENT = re.compile(rb"(?i)\r\nx-soak-client: *(\d+)")


class Upstream:
    """``in_flight`` by client address, the ``highest`` ever seen, and how often it was ``over`` the cap."""

    def __init__(self, cap: int = 20) -> None:
        self.cap = cap
        self.port = 0
        self.requests = 0
        self.in_flight: Counter[str] = Counter()
        self.highest = 0
        self.over = 0
        self.relay_of: dict[int, bytes] = {}
        self.calls_of: Counter[int] = Counter()
        self.on_arrival: Callable[[str], None] = lambda _: None
        self.held: dict[str, list[_Connection]] = {}
        self._busy: dict[str, set[_Connection]] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Upstream:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def begin(self, connection: _Connection, address: str) -> None:
        """A request has arrived."""
        self.requests += 1
        self._busy.setdefault(address, set()).add(connection)
        self.in_flight[address] += 1
        now = self.in_flight[address]
        if now > self.highest:
            now = now if now <= self.cap else self._living(address)
            self.highest = max(self.highest, now)
            self.over += now > self.cap
        elif now > self.cap:
            self.over += self._living(address) > self.cap

    def note(self, client: int, relay: bytes) -> None:
        """Which client's request it was, and through which relay it came."""
        self.relay_of[client] = relay
        self.calls_of[client] += 1

    def forget(self, client: int) -> None:
        """The client has hung up."""
        self.relay_of.pop(client, None)
        self.calls_of.pop(client, None)

    def end(self, connection: _Connection, address: str) -> None:
        """It has been answered, or its connection has ended."""
        self.in_flight[address] -= 1
        self._busy[address].discard(connection)

    def _living(self, address: str) -> int:
        return sum(not connection.has_ended() for connection in self._busy[address])

    def hold(self, connection: _Connection, address: str) -> None:
        """Keep it until ``release``."""
        self.held.setdefault(address, []).append(connection)

    def release(self, address: str) -> int:
        """Answer all that is held for the address; returns how many were still there."""
        return sum(connection.answer() for connection in self.held.pop(address, []))


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.transport: asyncio.Transport
        self.address = ""
        self.turn = 0
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if not self._heard.endswith(b"\r\n\r\n"):
            return
        head, self._heard = self._heard, b""
        assert not self.address, "a request before the last was answered"
        forwarded = FORWARDED.search(head)
        assert forwarded is not None
        self.address = forwarded[1].decode()
        if (client := CLIENT.search(head)) and (relay := REQUEST_ID.search(head)):
            self.upstream.note(int(client[1]), relay[1])
        self.upstream.begin(self, self.address)
        self._serve(head.split(b" ", 2)[1].split(b"/"))

    def _serve(self, path: list[bytes]) -> None:
        address = self.address
        if path[2] == b"hold":
            self.upstream.hold(self, address)
            self.upstream.on_arrival(address)
        elif path[2] == b"for":
            loop = asyncio.get_running_loop()
            loop.call_later(int(path[3]) / 1000, self.answer, self.turn)
        else:
            self.answer()

    def answer(self, turn: int | None = None) -> bool:
        """Answer what is in flight (of that ``turn``); False when it is gone."""
        if not self.address or (turn is not None and turn != self.turn):
            return False
        self._over()
        self.transport.write(ANSWER)
        return True

    def _over(self) -> None:
        if self.address:
            address, self.address = self.address, ""
            self.turn += 1
            self.upstream.end(self, address)

    def has_ended(self) -> bool:
        """Whether the kernel knows already that the other side has gone."""
        return has_ended(self.transport)

    def eof_received(self) -> None:
        self._over()

    def connection_lost(self, _: Exception | None) -> None:
        self._over()


def has_ended(transport: asyncio.Transport) -> bool:
    """Whether the kernel knows already that the other side of a connection has gone."""
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
        try:
            return not same.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
