"""All that the management process looks at and writes to, as long as it lives.

Law: shared memory, the store and the channel, under one name; configurations come and go over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from keystile.config.model import Settings
from keystile.limits.slots import SlotTable
from keystile.management.access_log import LogWriter
from keystile.management.certificates import CertificateEnd
from keystile.management.exposures import Exposures
from keystile.management.health import Check, Health, examine
from keystile.management.metrics import Sample, counter_samples
from keystile.management.old_tls import OldTlsWriter
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.process import channel
from keystile.process.memory import CounterPages
from keystile.process.watch import Report, Watch
from keystile.storage.sqlite import SqliteStore

log = logging.getLogger(__name__)

SILENT = 2.0
"""Seconds without a sign of life after which a relay is called stuck."""
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
    old_tls: OldTlsWriter
    exposures: Exposures
    lines: LogWriter
    receiver: channel.Receiver
    certificates: tuple[CertificateEnd, ...] = ()
    watch: Watch | None = None
    watching: asyncio.Task[None] | None = None
    leaving: bool = False
    keys: int = 0
    keys_counted: float = float("-inf")

    def leave(self) -> None:
        """The gateway has been told to stop: health says so, while requests are still served."""
        self.leaving = True

    # -- health -----------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """Store, relays and not to be stopping are vital; a relay that hangs, or lives on what it knows, is not."""
        vital: dict[str, Check] = {
            "gateway": self._check_leaving,
            "store": self._check_store,
            "relays": self._check_relays,
        }
        other: dict[str, Check] = {
            "stuck": self._check_stuck,
            "relays and store": self._check_followers,
            "configuration": self._check_configuration,
        }
        return await examine(vital, other)

    async def _check_leaving(self) -> str | None:
        return "stopping" if self.leaving else None

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

    async def _check_configuration(self) -> str | None:
        # Health is for everybody who can reach it: what is wrong stands in the log and on the operators' page.
        return f"the file on disk was not taken, {self.report.number} goes on" if self.fault else None

    # -- the configuration ------------------------------------------------------------------------------

    @property
    def report(self) -> Report:
        """How the last reading of gateway.yaml ended."""
        return self.watch.report if self.watch is not None else Report(0, 0.0)

    @property
    def fault(self) -> str:
        """Why gateway.yaml as it is now was not taken; empty where it was."""
        return self.report.fault

    # -- metrics ----------------------------------------------------------------------------------------

    async def samples(self) -> list[Sample]:
        """All metrics."""
        return [
            *counter_samples(self.counters.totals(self.names, self.gauges), self.gauges),
            ("relays_up", "", len(self.counters.relays())),
            ("restarts_total", "", self.counters.restarts),
            ("configuration", "", self.report.number),
            ("configurations_taken_total", "", self.report.taken),
            ("configurations_refused_total", "", self.report.failed),
            ("slots_taken", "", self.slots.taken()),
            ("slots_highest", "", self.slots.highest()),
            ("messages_dropped_total", "", self.counters.dropped() + self.receiver.unknown),
            ("log_lines_unwritten_total", "", self.lines.dropped),
            ("last_uses_unwritten_total", "", self.uses.dropped),
            ("usage_unwritten_total", "", self.usage.dropped),
            ("old_tls_unwritten_total", "", self.old_tls.dropped),
            *(("certificate_expiry_timestamp_seconds", _of(one), one.ends) for one in self.certificates),
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

    def take_over(self, *, from_another: bool = False) -> None:
        """From now on receive what relays send, and watch the configuration: only one process may.

        ``from_another``: that one may not have come to take up what it saw last.
        """
        loop = asyncio.get_running_loop()
        loop.add_reader(self.receiver, self.receive)
        if self.watch is not None:
            self.watching = loop.create_task(_watched(self.watch, at_once=from_another))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """From the first to the last request; at the end all that relays handed over is written."""
        loop = asyncio.get_running_loop()
        writers = (self.uses, self.usage, self.old_tls, self.exposures)
        writing = [loop.create_task(writer.run()) for writer in writers]
        yield
        for task in writing:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self.watching is not None:
            self.watching.cancel()
            loop.remove_reader(self.receiver)
            while self.receiver.receive():
                continue
        for writer in writers:
            await writer.flush()
        await asyncio.to_thread(self.lines.close, LAST_LINES)
        await self.store.close()


async def _watched(watch: Watch, *, at_once: bool) -> None:
    if at_once:
        await watch.reload()
    await watch.run()


def _of(certificate: CertificateEnd) -> str:
    """Its labels."""
    texts = {"place": certificate.place, "file": certificate.file}
    return ",".join(f'{name}="{_escaped(text)}"' for name, text in texts.items())


def _escaped(text: str) -> str:
    """As a label's value (Prometheus, text format 0.0.4)."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
