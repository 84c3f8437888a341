"""The management address over many configurations: connections stay while one application follows the other.

Law: who answers, and when a connection ends; what is answered is an application's. A request is answered by the
application whose turn it is when it comes. Between two turns it waits, and is the next one's; what an earlier one has
begun, that one finishes, while the next serves already. A client that keeps a connection and writes on it can never
know whether a request that is reset was done, so no connection ends for a configuration's sake, and at the very end
none does on which anything of a request is to be seen.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

from aiohttp import web

from keystile.management.server import LOOK_EVERY, Connection, Runner, Server

CUT_WITHIN = 1.0
"""Seconds that a request whose time is over has to end by itself, and as many again when it is cancelled."""


class Entrance:
    """``is_over``: whether another turn is about to begin, so that what comes now is that one's already.

    ``how``: for connections, as for ``web.AppRunner``. Needs a running loop.
    """

    def __init__(self, is_over: Callable[[], bool], **how: Any) -> None:
        self._is_over = is_over
        self._turn = asyncio.Event()
        self._application: web.Server  # how aiohttp calls one
        self._listening: asyncio.Server | None = None
        self._ends = False
        self._server = Server.over(self._handle, self._request, **how)
        self.waiting = 0
        """Requests that wait for a turn."""

    @property
    def connections(self) -> list[Connection]:
        """All that there are."""
        return [cast(Connection, each) for each in self._server.connections]

    # -- one turn after the other -----------------------------------------------------------------------

    async def open(self, runner: Runner, opened: socket.socket, tls: ssl.SSLContext | None, backlog: int) -> web.Server:
        """Now it is the turn of this runner's application; accept connections from ``opened``, which becomes ours.

        Returns what ``finish`` wants. Raises OSError.
        """
        assert runner.server is not None  # it has been set up
        self._application = runner.server
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, sock=opened, ssl=tls, backlog=backlog)
        self._turn.set()
        return self._application

    def close(self) -> None:
        """Its turn is over: whoever comes waits for the next one."""
        self._turn.clear()
        self._stop_listening()

    async def finish(self, application: web.Server, within: float) -> None:
        """Wait until all that this application has begun is answered; what is not in so many seconds is cut."""
        give_up = asyncio.get_running_loop().time() + within
        while (begun := self._begun_by(application)) and asyncio.get_running_loop().time() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY)
        await _cut(begun)

    # -- the end ----------------------------------------------------------------------------------------

    async def end(self, linger: Callable[[], float], last: float) -> None:
        """Accept nobody any more, and end every connection; the application whose turn it is answers meanwhile.

        What is answered says that its connection ends with it. For the first seconds (``linger``, asked again and
        again) connections without a request stay too; then only those with one, for ``last`` seconds.
        """
        self._stop_listening()
        self._ends = True
        self._turn.set()
        began, passed = asyncio.get_running_loop().time(), 0.0
        while passed < linger() + last:
            if passed >= linger():
                for each in self.connections:
                    each.end_if_idle()
            await asyncio.sleep(LOOK_EVERY)  # what was accepted just now becomes a connection, too
            if not self._server.connections:
                break
            passed = asyncio.get_running_loop().time() - began
        await _cut(self.connections)

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    # -- requests ---------------------------------------------------------------------------------------

    def _request(self, *made_of: Any) -> web.BaseRequest:
        """Bounds of a request's size are the program's, not a configuration's: the last one's will do."""
        return self._application.request_factory(*made_of)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        connection.turn = None  # it was the last request's
        await self._wait_for_a_turn()
        connection.turn = application = self._application
        try:
            answer = await application.request_handler(request)
        except web.HTTPException as refused:
            self._announce_end(refused)
            raise
        self._announce_end(answer)
        return answer

    async def _wait_for_a_turn(self) -> None:
        self.waiting += 1
        try:
            while not self._turn.is_set() or self._is_over():
                self._turn.clear()
                await self._turn.wait()
        finally:
            self.waiting -= 1

    def _announce_end(self, answer: web.StreamResponse) -> None:
        if self._ends and not answer.prepared:  # else its fields have been sent, and say that it stays
            answer.force_close()

    def _begun_by(self, application: web.Server) -> list[Connection]:
        return [each for each in self.connections if each.turn is application and each.is_under_way]


async def _cut(connections: Iterable[Connection]) -> None:
    await asyncio.gather(*(each.shutdown(CUT_WITHIN) for each in connections))
