"""The management process: the store, the channel's receiving end, and what is served (``serving.py``).

Law: it puts together and takes apart; what is served stands in ``keystile.management``. No request of the
API ever waits for this process.

Of two (an upgrade), one stands by: it serves already, and takes over what only one may do when it is told to.

It also watches the configuration. Another one means another application, on the same sockets, store and channel.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from keystile.management import aiohttp_ahead  # noqa: F401 - before whatever imports aiohttp

# isort: split

from keystile.app import check_rules, load_settings, make_ready_to_read, open_passwords, open_store
from keystile.config.model import Settings
from keystile.keys.service import KeyService
from keystile.limits.servers import ServerTable
from keystile.limits.slots import SlotTable
from keystile.management.access_log import LogWriter
from keystile.management.certificates import certificate_ends
from keystile.management.exposures import Exposures
from keystile.management.hosts import Hosts
from keystile.management.old_tls import OldTlsWriter
from keystile.management.requests import RequestCounts
from keystile.management.spans import Spans
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.process import channel, snapshot
from keystile.process.charge import REPLACED, Charge, Line, run
from keystile.process.desk import LOST, Desk
from keystile.process.log import log as say
from keystile.process.memory import CounterPages
from keystile.process.offers import Offers
from keystile.process.serving import Serving
from keystile.process.telling import Telling
from keystile.process.watch import Watch, began_at
from keystile.relay import gateway, reaching, terms, upstreams  # noqa: F401 - of this version: after an upgrade it is too late
from keystile.storage.engines import open_hosts, open_keeper
from keystile.storage.passwords import passwords_of

log = logging.getLogger(__name__)


async def work(charge: Charge, line: Line) -> None:
    """From the charge to the last words: one configuration after the other, on the same sockets and store."""
    taken = snapshot.read(charge.snapshot)
    desk = await _open(charge, taken.settings)
    line.hear("leaving", lambda _: desk.leave())
    offers = Offers(line, desk.lines.look)  # SIGHUP after a rotation
    replaces = desk.counters.restarts > 0  # this process another one, or who knows
    since = None if replaces else began_at(charge.supervisor)  # who reads gateway.yaml first
    watch = offers.watch = desk.watch = Watch(taken, load_settings, check_rules, offers.make, since=since)
    is_first = not (replaces or charge.standby)
    serving = Serving(charge, desk, line, watch)
    async with desk.at_work():
        if charge.standby:
            line.hear("take_over", lambda _: desk.take_over(from_another=True))
        else:
            desk.take_over()
        while not line.stop.is_set() or serving.is_waited_for:
            desk.settings, desk.number = watch.accepted.settings, watch.accepted.number
            if desk.settings.access_log.enabled:  # else what has begun to be logged is logged where it was to be
                desk.lines.write_to(desk.settings.access_log.file)
            _send_spans(desk)
            desk.certificates = certificate_ends(desk.settings, watch.accepted.contents)
            watch.changed.clear()
            async with serving.by(watch.accepted, is_first=is_first):
                is_first = False
                line.ready()
                await asyncio.to_thread(make_ready_to_read)  # now, when nobody waits for it any more
                await _until_one_is_set(line.stop, watch.changed)
        await serving.ended()
        desk.replaced = line.how == REPLACED


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


async def _open(charge: Charge, settings: Settings) -> Desk:
    names = charge.made()
    store = await open_store(settings)
    passwords = await open_passwords(settings)
    # In a database passwords lie with the accounts, and it may be away at this moment.
    had_passwords = settings.database is None and await store.had_passwords()
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
        keeper=open_keeper(store),
    )
    handlers[channel.USAGE] = desk.take_usage
    if (table := open_hosts(store)) is not None:
        desk.hosts = Hosts(table, settings.store, Telling(desk))
    return desk


if __name__ == "__main__":
    run(work, last_words=True)
