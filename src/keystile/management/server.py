"""aiohttp's server, less its habits of quoting what it cannot read, of waiting for ever, and of taking whoever comes.

Law: nothing but that. What cannot be read may hold a key (a request line without a method, a field with a
control byte), and an answer ends up in logs of others. aiohttp has no public way to say it otherwise, so this
file, and only it, leans on its private names; tests/management/test_server.py notices when they go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

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


class _Handler(RequestHandler):
    """A connection. aiohttp bounds how long it may be silent, but not how long a head may take."""

    _heads_before = 0
    _looking: asyncio.TimerHandle | None = None
    _counted: bytes | None = None
    crowd: Crowd

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


class _Server(web.Server):
    crowd: Crowd

    def __call__(self) -> RequestHandler:
        handler = _Handler(self, loop=self._loop, **self._kwargs)
        handler.crowd = self.crowd
        return handler


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
        server.__class__ = _Server
        cast(_Server, server).crowd = Crowd(min(CONNECTIONS, room_for_connections()), CONNECTIONS_PER_ADDRESS)
        return server

    async def finish(self, within: float, *, one_request_each: bool = False) -> None:
        """Wait until no request is under way, for so many seconds at most; who accepts connections has stopped that.

        ``one_request_each``: every connection carries one request, so one on which none has come yet counts too.
        """
        give_up = asyncio.get_running_loop().time() + within
        await asyncio.sleep(LOOK_EVERY)  # what was accepted just now becomes a connection
        # Only at the end of a configuration: looking is simpler than signalling.
        while self._is_busy(one_request_each) and asyncio.get_running_loop().time() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY)

    def _is_busy(self, one_request_each: bool) -> bool:
        connections = [] if self.server is None else self.server.connections
        return any(one_request_each or cast(_Handler, each)._current_request is not None for each in connections)


async def close_after(_: web.Request, answer: web.StreamResponse) -> None:
    """For an application's ``on_response_prepare``: no connection lies idle, so none is cut as a request comes."""
    answer.headers["Connection"] = "close"
    answer.force_close()
