"""The management process: the store, the channel's receiving end, and an aiohttp application.

Law: it puts together and takes apart; what is served stands in ``keystile.management``. No request of the
API ever waits for this process.

It begins and ends with aiohttp's application: what it needs is a clean-up context of it, in the order in
which one thing needs the other.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from keystile.app import open_services, route_table
from keystile.config.model import Settings
from keystile.config.page import page_url
from keystile.limits.slots import SlotTable
from keystile.management.access_log import LogWriter
from keystile.management.app import Sources, build
from keystile.management.context import Services
from keystile.management.health import Check, Health, examine
from keystile.management.look import DeskView
from keystile.management.metrics import Sample, counter_samples
from keystile.management.server import Runner
from keystile.management.service_calls import app as service_calls
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.process import channel, snapshot
from keystile.process.charge import Charge, Line, run
from keystile.process.log import log as say
from keystile.process.memory import CounterPages
from keystile.process.sockets import BACKLOG
from keystile.storage.sqlite import SqliteStore
from keystile.wire.tls import server_context

log = logging.getLogger(__name__)

SILENT = 2.0
"""Seconds without a sign of life after which a relay is called stuck."""
IDLE = 75.0
"""Seconds that a client may keep a connection without a request."""
LAST_LINES = 1.0
"""Seconds that the access log has at the end."""
COUNT_KEYS_EVERY = 60.0
"""Seconds between two counts of the keys: the store has to read them all."""
UNREADABLE = "store_unreadable"
"""The relays' counter (a gauge) of those that cannot read the store."""


@dataclass(slots=True)
class Desk:
    """All that the management process looks at and writes to."""

    settings: Settings
    slots: SlotTable
    counters: CounterPages
    names: Sequence[str]
    gauges: Collection[str]
    store: SqliteStore
    uses: UseWriter
    usage: UsageWriter
    lines: LogWriter
    receiver: channel.Receiver
    keys: int = 0
    keys_counted: float = float("-inf")

    # -- health -----------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """The store and the relays are vital; a relay that hangs, or lives on what it remembers, is not."""
        vital: dict[str, Check] = {"store": self._check_store, "relays": self._check_relays}
        other: dict[str, Check] = {"stuck": self._check_stuck, "relays and store": self._check_followers}
        return await examine(vital, other)

    async def _check_store(self) -> str | None:
        try:
            await self.store.account("health@check.invalid")
        except Exception as error:  # noqa: BLE001 - any trouble of the store's is what is asked for here
            log.warning("the store cannot be read: %s", error)
            return "cannot be read"
        return None

    async def _check_relays(self) -> str | None:
        return None if self.counters.relays() else "none is up"

    async def _check_stuck(self) -> str | None:
        stuck = [relay for relay in self.counters.relays() if relay.silent_for > SILENT]
        said = ", ".join(f"relay {relay.pid} silent for {relay.silent_for:.0f} s" for relay in stuck)
        return said or None

    async def _check_followers(self) -> str | None:
        unreadable = self.counters.totals(self.names, self.gauges).get(UNREADABLE, 0)
        return f"{unreadable} cannot read it and use the keys they know" if unreadable else None

    # -- metrics ----------------------------------------------------------------------------------------

    async def samples(self) -> list[Sample]:
        """All metrics."""
        return [
            *counter_samples(self.counters.totals(self.names, self.gauges), self.gauges),
            ("relays_up", "", len(self.counters.relays())),
            ("restarts_total", "", self.counters.restarts),
            ("slots_taken", "", self.slots.taken()),
            ("slots_highest", "", self.slots.highest()),
            ("messages_dropped_total", "", self.counters.dropped() + self.receiver.unknown),
            ("log_lines_unwritten_total", "", self.lines.dropped),
            ("last_uses_unwritten_total", "", self.uses.dropped),
            ("usage_unwritten_total", "", self.usage.dropped),
            *await self._key_samples(),
        ]

    async def _key_samples(self) -> list[Sample]:
        now = asyncio.get_running_loop().time()
        if now - self.keys_counted >= COUNT_KEYS_EVERY:
            try:
                self.keys = await self.store.count_keys()
            except Exception as error:  # noqa: BLE001 - metrics must be there above all when something is broken
                log.warning("keys cannot be counted: %s", error)
                return []
            self.keys_counted = now
        return [("keys", "", self.keys)]

    # -- the channel ------------------------------------------------------------------------------------

    def receive(self) -> None:
        """What relays have sent; the event loop calls again while there is more."""
        self.receiver.receive()

    async def at_work(self, _: web.Application) -> AsyncIterator[None]:
        """From start to clean-up of the application; at the end all that relays handed over is written."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.receiver, self.receive)
        writing = [loop.create_task(self.uses.run()), loop.create_task(self.usage.run())]
        yield
        for task in writing:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        loop.remove_reader(self.receiver)
        while self.receiver.receive():
            continue
        await self.uses.flush()
        await self.usage.flush()
        await asyncio.to_thread(self.lines.close, LAST_LINES)
        await self.store.close()


async def work(charge: Charge, line: Line) -> None:
    """From the charge to the last words."""
    taken = snapshot.read(charge.snapshot)
    desk = await _open(charge, taken.settings)
    opened = socket.socket(fileno=charge.listeners[0])
    async with open_services(taken, desk.store, DeskView(desk, taken.number)) as services:
        app = build(Sources(desk.health, desk.samples), services, taken.settings.management.hosts)
        app.cleanup_ctx.append(desk.at_work)
        runner = Runner(app, access_log=None, auto_decompress=False, keepalive_timeout=IDLE)
        await runner.setup()
        site = web.SockSite(runner, opened, ssl_context=_tls(taken), shutdown_timeout=1.0)
        await site.start()
        async with _serving_calls(charge, services):
            await _offer_setup(services, opened)
            line.ready()
            await line.stop.wait()
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
    opened = socket.socket(fileno=charge.listeners[1])
    # aiohttp's sites bind a Unix socket anew; and on Python 3.13 a loop would remove its path at the end.
    listen: Any = asyncio.get_running_loop().create_unix_server
    server = await listen(runner.server, sock=opened, backlog=BACKLOG, cleanup_socket=False)
    yield
    server.close()
    await runner.cleanup()


async def _open(charge: Charge, settings: Settings) -> Desk:
    names = charge.made()
    store = await SqliteStore.open(settings.store)
    uses, usage, lines = UseWriter(store), UsageWriter(store), LogWriter(settings.access_log.file)
    handlers = {channel.USES: uses.add, channel.USAGE: usage.add, channel.LOG: lines.add}
    return Desk(
        settings=settings,
        slots=SlotTable.attach(charge.slots),
        counters=CounterPages.attach(charge.counters),
        names=names.COUNTERS,
        gauges=names.GAUGES,
        store=store,
        uses=uses,
        usage=usage,
        lines=lines,
        receiver=channel.Receiver(socket.socket(fileno=charge.channel), handlers),
    )


def _tls(taken: snapshot.Snapshot) -> ssl.SSLContext | None:
    """The context of the management address, from the files as they were accepted."""
    tls = taken.settings.management.tls
    if tls is None:
        return None
    with taken.file(tls.certificate) as certificate, taken.file(tls.private_key) as private_key:
        return server_context(certificate, private_key, tls.minimum_version)


if __name__ == "__main__":
    run(work, last_words=True)
