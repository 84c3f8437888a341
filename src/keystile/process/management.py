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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web

from keystile.app import check_rules, load_settings, open_services, probe_targets, route_table
from keystile.config.model import Settings
from keystile.config.page import page_url
from keystile.keys.service import KeyService
from keystile.limits.servers import ServerTable
from keystile.limits.slots import SlotTable
from keystile.management.access_log import LogWriter
from keystile.management.app import Sources, build
from keystile.management.certificates import certificate_ends
from keystile.management.context import Services
from keystile.management.exposures import Exposures
from keystile.management.look import DeskView
from keystile.management.old_tls import OldTlsWriter
from keystile.management.probing import Prober
from keystile.management.requests import RequestCounts
from keystile.management.server import Runner, close_after
from keystile.management.service_calls import app as service_calls
from keystile.management.spans import Spans
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.process import channel, snapshot
from keystile.process.charge import Charge, Line, run
from keystile.process.desk import LOST, Desk
from keystile.process.log import log as say
from keystile.process.memory import CounterPages
from keystile.process.offers import Offers
from keystile.process.sockets import BACKLOG
from keystile.process.watch import Watch
from keystile.storage.errors import StoreError
from keystile.storage.passwords import Passwords, passwords_of
from keystile.storage.sqlite import SqliteStore
from keystile.wire.tls import server_context

log = logging.getLogger(__name__)

OTHERS, LAST_REQUESTS = 5.0, 1.0
"""Seconds that requests under way have when another configuration comes, and when this process ends."""
IDLE = 75.0
"""Seconds that a client may keep a connection without a request."""


async def work(charge: Charge, line: Line) -> None:
    """From the charge to the last words: one configuration after the other, on the same sockets and store."""
    taken = snapshot.read(charge.snapshot)
    desk = await _open(charge, taken.settings)
    line.hear("leaving", lambda _: desk.leave())
    offers = Offers(line, desk.lines.look)  # SIGHUP after a rotation
    replaces = desk.counters.restarts > 0  # this process another one, or who knows
    watch = offers.watch = desk.watch = Watch(taken, load_settings, check_rules, offers.make, replaces=replaces)
    is_first = not (replaces or charge.standby)
    async with desk.at_work():
        if charge.standby:
            line.hear("take_over", lambda _: desk.take_over(from_another=True))
        else:
            desk.take_over()
        while not line.stop.is_set():
            desk.settings, desk.number = watch.accepted.settings, watch.accepted.number
            if desk.settings.access_log.enabled:  # else what has begun to be logged is logged where it was to be
                desk.lines.write_to(desk.settings.access_log.file)
            _send_spans(desk)
            desk.certificates = certificate_ends(desk.settings, watch.accepted.contents)
            watch.changed.clear()
            patience = partial(_patience, line)
            async with _serving(charge, desk, watch.accepted, patience, is_first=is_first):
                is_first = False
                line.ready()
                await _until_one_is_set(line.stop, watch.changed)


def _patience(line: Line) -> float:
    return LAST_REQUESTS if line.stop.is_set() else OTHERS


def _send_spans(desk: Desk) -> None:
    """To the collector of the settings; that the library has gone since they were checked ends nothing."""
    try:
        desk.spans.send_to(desk.settings.telemetry.otlp)
    except ImportError as error:
        log.error("no spans are sent: %s", error)


async def _until_one_is_set(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


@asynccontextmanager
async def _serving(
    charge: Charge, desk: Desk, taken: snapshot.Snapshot, patience: Callable[[], float], *, is_first: bool
) -> AsyncIterator[None]:
    """Page, API and key calls by one configuration, to the end of what has begun (``patience``: seconds).

    Who connects between two of them waits for the next. ``is_first``: the gateway has just been started.
    """
    # A copy: a site closes what it was given.
    opened = socket.socket(fileno=os.dup(charge.listeners[0]))
    async with open_services(taken, desk.store, DeskView(desk, taken.number)) as services:
        app = build(Sources(desk.health, desk.samples), services, taken.settings.management.hosts)
        runner = Runner(app, access_log=None, auto_decompress=False, keepalive_timeout=IDLE)
        await runner.setup()
        site = web.SockSite(runner, opened, ssl_context=_tls(taken), shutdown_timeout=1.0)
        await site.start()
        async with _serving_calls(charge, services, patience):
            await _offer_setup(services, opened, anew=is_first)
            async with _asking_servers(desk, taken):
                yield
        await site.stop()
        await runner.finish(patience())
        await runner.cleanup()


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
        said = await services.access.offer_setup_link(page, sys.stderr, anew=anew)
    except StoreError as error:
        said = f"no link for making the first operator can be kept: {error}"
    if said is not None:
        say(said)


@asynccontextmanager
async def _serving_calls(
    charge: Charge, services: Services, patience: Callable[[], float]
) -> AsyncIterator[None]:
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
    await runner.finish(patience(), one_request_each=True)
    await runner.cleanup()


async def _open(charge: Charge, settings: Settings) -> Desk:
    names = charge.made()
    store = await SqliteStore.open(settings.store)
    passwords = await Passwords.open(settings.store)
    had_passwords = await store.had_passwords()
    if had_passwords and not await passwords.any():
        say(f"passwords: {LOST}; put {passwords_of(settings.store)} back, or set new ones (keystile accounts password)")
    exposures = Exposures(KeyService(store).report_exposed)
    counters = CounterPages.attach(charge.counters)
    uses, usage, old_tls = UseWriter(store), UsageWriter(store, exposures.add), OldTlsWriter(store)
    lines, spans, requests = LogWriter(settings.access_log.file), Spans(), RequestCounts()
    handlers = {
        channel.USES: uses.add,
        channel.LOG: lines.add,
        channel.OLD_TLS: old_tls.add,
        channel.SPANS: spans.add,
        channel.ROUTES: requests.add_routes,
    }
    desk = Desk(
        settings=settings,
        slots=SlotTable.attach(charge.slots),
        counters=counters,
        names=names.COUNTERS,
        gauges=names.GAUGES,
        store=store,
        uses=uses,
        usage=usage,
        old_tls=old_tls,
        exposures=exposures,
        lines=lines,
        spans=spans,
        receiver=channel.Receiver(socket.socket(fileno=charge.channel), handlers),
        servers=ServerTable.attach(charge.servers),
        requests=requests,
        standing_by=charge.standby,
        passwords=passwords,
        had_passwords=had_passwords,
    )
    handlers[channel.USAGE] = desk.take_usage
    return desk


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
