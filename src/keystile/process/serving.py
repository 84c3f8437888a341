"""What management serves by one configuration after the other: page, API, the service's own key calls.

Law: it puts together and takes apart. Of two configurations the next begins while the one before ends: that one only
finishes what it has begun. Connections to the page and the API stay (``management/entrance.py``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from keystile.app import open_services, probe_targets, route_table
from keystile.config.page import page_url
from keystile.management.app import Sources, build
from keystile.management.context import Services
from keystile.management.entrance import Entrance
from keystile.management.look import DeskView
from keystile.management.probing import Prober
from keystile.management.server import Runner, close_after
from keystile.management.service_calls import app as service_calls
from keystile.process import snapshot
from keystile.process.charge import LINGER, REPLACED, Charge, Line
from keystile.process.desk import Desk
from keystile.process.log import log as say
from keystile.process.sockets import BACKLOG
from keystile.process.watch import Watch
from keystile.storage.errors import StoreError
from keystile.wire.tls import server_context

log = logging.getLogger(__name__)

OTHERS, LAST_REQUESTS = 5.0, 1.0
"""Seconds that requests under way have when another configuration comes, and when this process ends."""
IDLE = 75.0
"""Seconds that a client may keep a connection without a request."""


class Serving:
    """``watch``: when it has changed, what comes belongs to the next configuration. Needs a running loop."""

    def __init__(self, charge: Charge, desk: Desk, line: Line, watch: Watch) -> None:
        self._charge = charge
        self._desk = desk
        self._line = line
        self._watch = watch
        self._ending: set[asyncio.Task[None]] = set()
        # An access log of aiohttp's own would write queries as they came.
        how = {"access_log": None, "auto_decompress": False, "keepalive_timeout": IDLE}
        self._entrance = Entrance(self._is_over, **how)

    @property
    def is_waited_for(self) -> bool:
        """Whether requests have come between two configurations: then another one must answer them."""
        return self._entrance.waiting > 0

    @asynccontextmanager
    async def by(self, taken: snapshot.Snapshot, *, is_first: bool) -> AsyncIterator[None]:
        """Page, API and key calls by one configuration; what it has begun is finished later (``ended``).

        ``is_first``: the gateway has just been started.
        """
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(
                open_services(taken, self._desk.store, DeskView(self._desk, taken.number))
            )
            app = build(Sources(self._desk.health, self._desk.samples), services, taken.settings.management.hosts)
            runner = Runner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            # A copy: it is closed with the turn.
            opened = socket.socket(fileno=os.dup(self._charge.listeners[0]))
            turn = await self._entrance.open(runner, opened, _tls(taken), BACKLOG)
            stack.push_async_callback(self._entrance.finish, turn, OTHERS)
            await stack.enter_async_context(_serving_calls(self._charge, services, self._patience))
            await _offer_setup(services, opened, anew=is_first)
            async with _asking_servers(self._desk, taken):
                yield
                if self._line.stop.is_set():
                    await self._entrance.end(self._linger, LAST_REQUESTS)
                else:
                    self._entrance.close()
            self._begin(stack.pop_all().aclose())

    async def ended(self) -> None:
        """Wait until all that was begun is finished."""
        if self._ending:
            await asyncio.wait(self._ending)

    def _is_over(self) -> bool:
        """At the end of this process there is no next configuration."""
        return self._watch.changed.is_set() and not self._line.stop.is_set()

    def _linger(self) -> float:
        return LINGER if self._line.how == REPLACED else 0.0

    def _patience(self) -> float:
        return LAST_REQUESTS if self._line.stop.is_set() else OTHERS

    def _begin(self, end: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(end)
        self._ending.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a configuration has not ended as it should", exc_info=task.exception())


@asynccontextmanager
async def _asking_servers(desk: Desk, taken: snapshot.Snapshot) -> AsyncIterator[None]:
    """Health checks by one configuration; what was counted goes on in the next where the question is the same."""
    targets = probe_targets(taken)
    count = sum(len(upstream.servers) for upstream in taken.settings.upstreams)
    page = desk.servers.page(0)

    def publish(states: bytes) -> None:
        if not desk.standing_by:  # else the page is another process's
            page.write(taken.number, states)

    said = page.read(taken.number)
    prober = Prober(targets, count, publish, desk.tallies, known=b"" if said is None else said.states)
    desk.tallies = prober.tallies
    if not targets:
        prober.publish()
        yield
        return
    asking = asyncio.get_running_loop().create_task(prober.run())
    asking.add_done_callback(_say_if_it_failed)
    yield
    asking.cancel()
    await asyncio.wait([asking])


def _say_if_it_failed(asking: asyncio.Task[None]) -> None:
    """What was said last grows old, and relays use every server then."""
    if not asking.cancelled() and asking.exception() is not None:
        log.error("the health checks have failed", exc_info=asking.exception())


async def _offer_setup(services: Services, opened: socket.socket, *, anew: bool) -> None:
    """Where there is no operator, whoever started the gateway gets a link for making one.

    Not ``anew`` at a reload, an upgrade or a restart: nobody looks then, and a newer link would end the one they have.
    """
    page = page_url(services.settings.management, opened.getsockname()[1])
    try:
        shared = services.settings.database is not None
        said = await services.access.offer_setup_link(page, sys.stderr, anew=anew, shared=shared)
    except StoreError as error:
        said = f"no link for making the first operator can be kept: {error}"
    if said is not None:
        say(said)


@asynccontextmanager
async def _serving_calls(charge: Charge, services: Services, patience: Callable[[], float]) -> AsyncIterator[None]:
    """The service's own key calls, where they are switched on: an application of its own, on the Unix socket.

    Relays have ended before this process is told to; what they forwarded has been answered by then.
    """
    settings = services.settings
    routes = settings.management_routes
    if routes is None:
        yield
        return
    app = service_calls.build(
        services.store, services.keys, services.smtp, table=route_table(settings), prefix=routes.prefix
    )
    app.on_response_prepare.append(close_after)
    runner = Runner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    opened = socket.socket(fileno=os.dup(charge.listeners[1]))
    # aiohttp's sites bind a Unix socket anew; and on Python 3.13 a loop would remove its path at the end.
    listen: Any = asyncio.get_running_loop().create_unix_server
    server = await listen(runner.server, sock=opened, backlog=BACKLOG, cleanup_socket=False)
    yield
    server.close()
    await runner.finish(patience, one_request_each=True)
    await runner.cleanup()


def _tls(taken: snapshot.Snapshot) -> ssl.SSLContext | None:
    """The context of the management address, from the files as they were accepted."""
    tls = taken.settings.management.tls
    if tls is None:
        return None
    first = tls.certificates[0]
    with taken.file(first.certificate) as certificate, taken.file(first.private_key) as private_key:
        return server_context(certificate, private_key, tls.minimum_version)
