"""aiohttp's server, less its habits of quoting a malformed request in the answer and of waiting for a head for ever.

Law: nothing but that. What cannot be read may hold a key (a request line without a method, a field with a
control byte), and an answer ends up in logs of others. aiohttp has no public way to say it otherwise, so this
file, and only it, leans on its private names; tests/management/test_server.py notices when they go.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

HEAD_WITHIN = 10.0
"""Seconds within which a request's head must be whole (twice that, where it begins just after a look)."""
UNREADABLE = "The request is not well-formed."


class _Handler(RequestHandler):
    """A connection. aiohttp bounds how long it may be silent, but not how long a head may take."""

    _heads_before = 0
    _looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at it again and again from now on."""
        super().connection_made(transport)
        self._looking = asyncio.get_running_loop().call_later(HEAD_WITHIN, self._look)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Look at it no more."""
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
        if status < 500:
            # Nor is it logged as it came: the exception's text quotes the line that could not be read.
            return super().handle_error(request, status, None, UNREADABLE)
        return super().handle_error(request, status, exc, message)


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """``web.AppRunner`` whose server answers malformed requests without quoting them."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server
