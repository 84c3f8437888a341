"""The management process: the store, the channel's receiving end, and an aiohttp application.

Law: it puts together and takes apart; what is served stands in ``keystile.management``. No request of the
API ever waits for this process.

Of two (an upgrade), one stands by: it serves already, and takes over what only one may do when it is told to.

It also watches the configuration. Another one means another application, on the same sockets, store and channel.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from keystile.app import check_rules, load_settings, open_services, route_table
from keystile.config.model import Settings
from keystile.config.page import page_url
from keystile.keys.service import KeyService
from keystile.limits.slots import SlotTable
from keystile.management.access_log import LogWriter
from keystile.management.app import Sources, build
from keystile.management.certificates import certificate_ends
from keystile.management.context import Services
from keystile.management.exposures import Exposures
from keystile.management.look import DeskView
from keystile.management.old_tls import OldTlsWriter
from keystile.management.server import Runner
from keystile.management.service_calls import app as service_calls
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.process import channel, snapshot
from keystile.process.charge import Charge, Line, run
from keystile.process.desk import Desk
from keystile.process.log import log as say
from keystile.process.memory import CounterPages
from keystile.process.offers import Offers
from keystile.process.sockets import BACKLOG
from keystile.process.watch import Watch
from keystile.storage.sqlite import SqliteStore
from keystile.wire.tls import server_context

log = logging.getLogger(__name__)

IDLE = 75.0
"""Seconds that a client may keep a connection without a request."""


async def work(charge: Charge, line: Line) -> None:
    """From the charge to the last words: one configuration after the other, on the same sockets and store."""
    taken = snapshot.read(charge.snapshot)
    desk = await _open(charge, taken.settings)
    line.hear("leaving", lambda _: desk.leave())
    offers = Offers(line)
    watch = offers.watch = desk.watch = Watch(taken, load_settings, check_rules, offers.make)
    async with desk.at_work():
        if charge.standby:
            line.hear("take_over", lambda _: desk.take_over(from_another=True))
        else:
            desk.take_over()
        while not line.stop.is_set():
            desk.settings = watch.accepted.settings
            desk.certificates = certificate_ends(desk.settings, watch.accepted.contents)
            watch.changed.clear()
            async with _serving(charge, desk, watch.accepted):
                line.ready()
                await _until_one_is_set(line.stop, watch.changed)


async def _until_one_is_set(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


@asynccontextmanager
async def _serving(charge: Charge, desk: Desk, taken: snapshot.Snapshot) -> AsyncIterator[None]:
    """Page, API and key calls by one configuration. Who connects between two of them waits for the next."""
    # A copy: a site closes what it was given.
    opened = socket.socket(fileno=os.dup(charge.listeners[0]))
    async with open_services(taken, desk.store, DeskView(desk, taken.number)) as services:
        app = build(Sources(desk.health, desk.samples), services, taken.settings.management.hosts)
        runner = Runner(app, access_log=None, auto_decompress=False, keepalive_timeout=IDLE)
        await runner.setup()
        site = web.SockSite(runner, opened, ssl_context=_tls(taken), shutdown_timeout=1.0)
        await site.start()
        async with _serving_calls(charge, services):
            await _offer_setup(services, opened)
            yield
        await runner.cleanup()


async def _offer_setup(services: Services, opened: socket.socket) -> None:
    """Where there is no operator, whoever started the gateway gets a link for making one."""
    page = page_url(services.settings.management, opened.getsockname()[1])
    said = await services.access.offer_setup_link(page, sys.stderr)
    if said is not None:
        say(said)


@asynccontextmanager
async def _serving_calls(charge: Charge, services: Services) -> AsyncIterator[None]:
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
    runner = Runner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    opened = socket.socket(fileno=os.dup(charge.listeners[1]))
    # aiohttp's sites bind a Unix socket anew; and on Python 3.13 a loop would remove its path at the end.
    listen: Any = asyncio.get_running_loop().create_unix_server
    server = await listen(runner.server, sock=opened, backlog=BACKLOG, cleanup_socket=False)
    yield
    server.close()
    await runner.cleanup()


async def _open(charge: Charge, settings: Settings) -> Desk:
    names = charge.made()
    store = await SqliteStore.open(settings.store)
    exposures = Exposures(KeyService(store).report_exposed)
    uses, usage, lines = UseWriter(store), UsageWriter(store, exposures.add), LogWriter(settings.access_log.file)
    old_tls = OldTlsWriter(store)
    handlers = {
        channel.USES: uses.add, channel.USAGE: usage.add, channel.LOG: lines.add, channel.OLD_TLS: old_tls.add
    }  # fmt: skip
    return Desk(
        settings=settings,
        slots=SlotTable.attach(charge.slots),
        counters=CounterPages.attach(charge.counters),
        names=names.COUNTERS,
        gauges=names.GAUGES,
        store=store,
        uses=uses,
        usage=usage,
        old_tls=old_tls,
        exposures=exposures,
        lines=lines,
        receiver=channel.Receiver(socket.socket(fileno=charge.channel), handlers),
    )


def _tls(taken: snapshot.Snapshot) -> ssl.SSLContext | None:
    """The context of the management address, from the files as they were accepted."""
    tls = taken.settings.management.tls
    if tls is None:
        return None
    first = tls.certificates[0]
    with taken.file(first.certificate) as certificate, taken.file(first.private_key) as private_key:
        return server_context(certificate, private_key, tls.minimum_version)


if __name__ == "__main__":
    run(work, last_words=True)
