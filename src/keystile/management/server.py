"""aiohttp's server, less its habits of quoting what it cannot read, of waiting for ever, and of taking whoever comes.

Law: nothing but that. What cannot be read may hold a key (a request line without a method, a field with a
control byte), and an answer ends up in logs of others. aiohttp has no public way to say it otherwise, so this
file, and only it, leans on its private names; tests/management/test_server.py notices when they go.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from keystile.limits.crowd import EXEMPT, Crowd
from keystile.limits.descriptors import room_for_connections
from keystile.management.api import problems
from keystile.management.app import expectation_failed

HEAD_WITHIN = 10.0
"""Seconds within which a request's head must be whole (twice that, where it begins just after a look)."""
LOOK_EVERY = 0.01
"""Seconds between looks whether requests are under way."""
UNREADABLE = "The request is not well-formed."
CONNECTIONS = 1024
"""As many connections are served at once, or as there are descriptors for; people and their scripts are few."""
CONNECTIONS_PER_ADDRESS = 256
"""Of one address: a proxy in front of the page has all its people on fewer."""
_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Connection(RequestHandler):
    """A connection. aiohttp bounds how long it may be silent, but not how long a head may take.

    ``turn``: whose it is to answer the request that is under way on it (``entrance.py``), once that is known.
    """

    _heads_before = 0
    _looking: asyncio.TimerHandle | None = None
    _counted: bytes | None = None
    _has_begun = False
    crowd: Crowd
    turn: object = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and look at it again and again from now on."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        name = peer[0].encode() if isinstance(peer, tuple) else EXEMPT  # relays come over a Unix socket
        if not self.crowd.enter(name):
            cast(asyncio.Transport, transport).write(_TOO_MANY)
            self.force_close()
            return
        self._counted = name
        self._looking = asyncio.get_running_loop().call_later(HEAD_WITHIN, self._look)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it and look at it no more."""
        if self._counted is not None:
            self.crowd.leave(self._counted)
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Remember whether a request has begun to come whose head is not whole."""
        before = self._request_count
        super().data_received(data)
        if data:  # aiohttp itself calls without, to go on with what it has
            self._has_begun = self.is_waiting and self._request_count == before

    @property
    def is_under_way(self) -> bool:
        """Whether the answer to a request is being made or written."""
        return self._request_in_progress

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way, as far as this process has read."""
        # Not by _current_request: there is none yet in the turn of the loop before a request's task begins, and none
        # any more while its answer is written.
        return self._waiter is not None and not self._messages

    def end_if_idle(self) -> None:
        """End it where no request is under way, has begun to come, or lies unread in the kernel."""
        if self.is_waiting and not self._has_begun and not _unread(self.transport):
            self.force_close()

    def _look(self) -> None:
        """Cut it where bytes have come (which ends aiohttp's own patience) but no whole head since the last look."""
        busy = self._current_request is not None or self._keepalive_handle is not None
        if not busy and self._request_count == self._heads_before:
            self.force_close()
            return
        self._heads_before = self._request_count
        self._looking = asyncio.get_running_loop().call_later(HEAD_WITHIN, self._look)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp does, but with our own words where the request was at fault."""
        if status < 500 and not request.writer.output_size:
            # Nor is it logged: the exception's text quotes the line that could not be read.
            answer = problems.answer(status, problems.Problem.MALFORMED.title, UNREADABLE)
            answer.force_close()
            return answer
        return super().handle_error(request, status, exc, message)


def _unread(transport: asyncio.Transport | None) -> bool:
    """Whether bytes of a connection that is open lie in the kernel."""
    if transport is None or transport.is_closing():
        return False
    found = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    return struct.unpack("i", found) != (0,)


class Server(web.Server):
    """Makes connections, not more than it may."""

    crowd: Crowd

    @classmethod
    def over(cls, handle: _Handle, request: Callable[..., web.BaseRequest], **how: Any) -> Server:
        """One that has ``handle`` answer what ``request`` makes; ``how`` as for ``web.AppRunner``."""
        server = cls(handle, request_factory=request, **how)
        server.crowd = _crowd()
        return server

    def __call__(self) -> RequestHandler:
        """A connection that is about to be made."""
        handler = Connection(self, loop=self._loop, **self._kwargs)
        handler.crowd = self.crowd
        return handler


def _crowd() -> Crowd:
    return Crowd(min(CONNECTIONS, room_for_connections()), CONNECTIONS_PER_ADDRESS)


def _unquoted(handle: _Handle) -> _Handle:
    """``handle``, but for an unknown ``Expect`` where nothing is: aiohttp quotes it, and asks no middleware."""

    async def handled(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handle(request)
        except web.HTTPExpectationFailed:
            return expectation_failed(cast(web.Request, request))

    return handled


class Runner(web.AppRunner):
    """``web.AppRunner`` whose server answers malformed requests without quoting them."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.request_handler = _unquoted(server.request_handler)
        server.__class__ = Server
        cast(Server, server).crowd = _crowd()
        return server

    async def finish(self, patience: Callable[[], float], *, one_request_each: bool = False) -> None:
        """Wait until no request is under way, for so many seconds at most; who accepts connections has stopped that.

        ``patience`` is asked again and again. ``one_request_each``: every connection carries one request, so one on
        which none has come yet counts too.
        """
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(LOOK_EVERY)  # what was accepted just now becomes a connection
        # Only at the end of a configuration: looking is simpler than signalling.
        while self._is_busy(one_request_each) and asyncio.get_running_loop().time() < began + patience():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY)

    def _is_busy(self, one_request_each: bool) -> bool:
        connections = [] if self.server is None else self.server.connections
        return any(one_request_each or not cast(Connection, each).is_waiting for each in connections)


async def close_after(_: web.Request, answer: web.StreamResponse) -> None:
    """For an application's ``on_response_prepare``: no connection lies idle, so none is cut as a request comes."""
    answer.headers["Connection"] = "close"
    answer.force_close()
