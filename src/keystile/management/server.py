"""aiohttp's server, less its habit of quoting a malformed request in the answer.

Law: nothing but that. What cannot be read may hold a key (a request line without a method, a field with a
control byte), and an answer ends up in logs of others. aiohttp has no public way to say it otherwise, so this
file, and only it, leans on two of its private names; tests/management/test_server.py notices when they go.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

UNREADABLE = "The request is not well-formed."


class _Handler(RequestHandler):
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
