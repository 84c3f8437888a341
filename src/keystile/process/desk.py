"""All that the management process looks at and writes to, as long as it lives.

Law: shared memory, the store and the channel, under one name; configurations come and go over it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import zlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from keystile import __version__, build
from keystile.config.difference import address_text
from keystile.config.model import Settings
from keystile.limits.servers import ServerTable
from keystile.limits.slots import SlotTable
from keystile.management import database
from keystile.management import servers as upstream_servers
from keystile.management.access_log import LogWriter
from keystile.management.batches import BatchWriter
from keystile.management.certificates import CertificateEnd
from keystile.management.exposures import Exposures
from keystile.management.health import Check, Health, examine
from keystile.management.hosts import Hosts
from keystile.management.metrics import Sample, counter_samples, labels
from keystile.management.old_tls import OldTlsWriter
from keystile.management.probing import Tallies
from keystile.management.processes import Processes
from keystile.management.requests import RequestCounts
from keystile.management.servers import SeenServer
from keystile.management.spans import Spans
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.process import channel
from keystile.process.memory import CounterPages
from keystile.process.watch import Report, Watch
from keystile.storage.errors import StoreError
from keystile.storage.hosts import HostState
from keystile.storage.passwords import Passwords
from keystile.storage.store import Store

if TYPE_CHECKING:
    from keystile.storage.postgresql.keeper import Keeper

log = logging.getLogger(__name__)

SILENT = 2.0
"""Seconds without a sign of life after which a relay is called stuck."""
LAST_LINES = 1.0
"""Seconds that the access log has at the end."""
COUNT_KEYS_EVERY = 60.0
"""Seconds between two counts of the keys: the store has to read them all."""
KEEP_EVERY = 1.0
"""Seconds after which at the latest what this process has counted is kept for the next one."""
KEPT = ("unknown", "lines", "uses", "usage", "old_tls", "taken", "failed", "write_failures")
"""What this process counts itself, in the order in which it is kept."""
LOST = "there are none any more, though some were set: their file was lost, and nobody can sign in"
"""What is wrong where the store remembers passwords, and their file none."""
UNREADABLE = "store_unreadable"
"""The relays' counter (a gauge) of those that cannot read the store."""
REFUSING = "keys_unavailable"
"""That of those that have stopped to trust the keys they know."""
UNCOUNTED = "slots_unreachable"
"""That of those that nobody lends slots to."""
HOLDING_BACK = "relays_holding_back"
SHEDDING = "relays_shedding"
"""Those of relays that are overloaded: at all, and so much that they refuse requests."""

LAG = "loop_lag_microseconds"
"""That of how long a turn of the loop takes; nobody wants the sum of it."""
AT_LISTENER = "in_flight_at_"
"""Those of requests in flight, by the place of their listener in the settings."""


@dataclass(slots=True)
class Desk:
    """All that the management process looks at and writes to."""

    settings: Settings
    slots: SlotTable
    counters: CounterPages
    names: Sequence[str]
    gauges: Collection[str]
    store: Store
    uses: UseWriter
    usage: UsageWriter
    old_tls: OldTlsWriter
    exposures: Exposures
    lines: LogWriter
    receiver: channel.Receiver
    servers: ServerTable
    spans: Spans = field(default_factory=Spans)
    requests: RequestCounts = field(default_factory=RequestCounts)
    processes: Processes = field(default_factory=Processes)
    tallies: Tallies = field(default_factory=dict)
    number: int = 0
    certificates: tuple[CertificateEnd, ...] = ()
    watch: Watch | None = None
    watching: asyncio.Task[None] | None = None
    standing_by: bool = False
    failures_before: int = 0
    leaving: bool = False
    keys: int = 0
    accounts: int = 0
    keys_counted: float = float("-inf")
    trouble: str = ""
    passwords: Passwords | None = None
    had_passwords: bool = False
    keeper: Keeper | None = None
    hosts: Hosts | None = None
    replaced: bool = False

    def leave(self) -> None:
        """The gateway has been told to stop: health says so, while requests are still served."""
        self.leaving = True

    # -- health -----------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """Vital: relays that answer, and not to be stopping. Not so a store: they live on what they remember."""
        vital: dict[str, Check] = {
            "gateway": self._check_leaving,
            "relays": self._check_relays,
            "keys": self._check_keys,
        }
        other: dict[str, Check] = {
            "store": self._check_store,
            "passwords": self._check_passwords,
            "last uses and usage": self._check_writers,
            "stuck": self._check_stuck,
            "relays and store": self._check_followers,
            "configuration": self._check_configuration,
            "upstreams": self._check_upstreams,
            "overload": self._check_overload,
            "other hosts": self._check_keeper,
            "slots": self._check_slots,
        }
        return await examine(vital, other)

    async def _check_leaving(self) -> str | None:
        return "stopping" if self.leaving else None

    async def _check_store(self) -> str | None:
        try:
            await self.store.account("health@check.invalid")
        except Exception as error:  # noqa: BLE001 - any trouble of the store's is what is asked for here
            self._say_once(f"the store cannot be read: {error}")
            return f"cannot be read: {error.why}" if isinstance(error, StoreError) else "cannot be read"
        self._say_once("")
        return None

    async def _check_keeper(self) -> str | None:
        """With a store in a database, its changes come by there."""
        return None if self.keeper is None else database.trouble(self.keeper)

    async def _check_passwords(self) -> str | None:
        """Made anew in silence, their file would keep everybody out, and nobody would know why."""
        if self.passwords is None or not self.had_passwords:
            return None
        try:
            return None if await self.passwords.any() else LOST
        except StoreError as error:
            return f"cannot be read, nobody can sign in: {error.why}"

    def _say_once(self, trouble: str) -> None:
        """Log a trouble, or its end: whoever watches health asks every few seconds."""
        if trouble != self.trouble:
            log.warning("%s", trouble or "the store can be read again")
        self.trouble = trouble

    async def _check_writers(self) -> str | None:
        troubles = {writer.trouble for writer in self.writers if writer.trouble}
        return f"cannot be written and wait: {', '.join(sorted(troubles))}" if troubles else None

    @property
    def writers(self) -> tuple[BatchWriter, ...]:
        """Those who write to the store what relays hand over; sums first, for at the end time may be short."""
        return self.usage, self.uses, self.old_tls

    async def _check_relays(self) -> str | None:
        return None if self.counters.relays() else "none is up"

    async def _check_keys(self) -> str | None:
        refusing = self.counters.totals(self.names, self.gauges).get(REFUSING, 0)
        return f"{refusing} relays refuse them: they could not read the store for too long" if refusing else None

    async def _check_stuck(self) -> str | None:
        stuck = [relay for relay in self.counters.relays() if relay.silent_for > SILENT]
        said = ", ".join(f"relay {relay.pid} silent for {relay.silent_for:.0f} s" for relay in stuck)
        return said or None

    async def _check_followers(self) -> str | None:
        unreadable = self.counters.totals(self.names, self.gauges).get(UNREADABLE, 0)
        return f"{unreadable} cannot read it and use the keys they know" if unreadable else None

    async def _check_slots(self) -> str | None:
        alone = self.counters.totals(self.names, self.gauges).get(UNCOUNTED, 0)
        return f"{alone} relays cannot count them over all hosts" if alone else None

    async def _check_configuration(self) -> str | None:
        # Health is for everybody who can reach it: what is wrong stands in the log and on the operators' page.
        return f"the file on disk was not taken, {self.report.number} goes on" if self.fault else None

    async def _check_upstreams(self) -> str | None:
        return upstream_servers.trouble(self.seen_servers())

    def seen_servers(self) -> tuple[SeenServer, ...]:
        """What is known of every upstream's servers now."""
        said = self.servers.page(0).read(self.number)
        checks = b"" if said is None else said.states
        return upstream_servers.seen(self.settings, checks, self.servers.relays(self.number))

    async def _check_overload(self) -> str | None:
        totals = self.counters.totals(self.names, self.gauges)
        holding, shedding = totals.get(HOLDING_BACK, 0), totals.get(SHEDDING, 0)
        if not holding:
            return None
        return f"{holding} of {len(self.counters.relays())} relays take few new connections, {shedding} refuse requests"

    def known_hosts(self) -> tuple[HostState, ...]:
        """The hosts that share the store; none where it is a file."""
        return () if self.hosts is None else self.hosts.states()

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

    def count_on(self) -> None:
        """Go on counting from where the process before this one has ended."""
        kept = self.counters.tally().kept(KEPT)
        self.failures_before = kept["write_failures"]
        self.receiver.unknown, self.lines.dropped_before = kept["unknown"], kept["lines"]
        self.uses.dropped, self.usage.dropped, self.old_tls.dropped = kept["uses"], kept["usage"], kept["old_tls"]
        if self.watch is not None:
            self.watch.report = replace(self.watch.report, taken=kept["taken"], failed=kept["failed"])
        self._restore_sums(self.counters.ledger().read())

    def keep(self) -> None:
        """Keep what this process has counted: the one after it goes on from there."""
        if self.standing_by:
            return  # it has counted nothing yet, and the one before it still counts
        writers = (self.lines, self.uses, self.usage, self.old_tls)
        dropped = (writer.dropped for writer in writers)
        report, failures = self.report, self._write_failures()
        self.counters.tally().keep(KEPT, [self.receiver.unknown, *dropped, report.taken, report.failed, failures])
        if self.requests.fresh:
            self._keep_sums()

    def _keep_sums(self) -> None:
        """Those under names that are not known beforehand. 20,000 lines of them take about 80 ms."""
        self.requests.fresh = False
        sums = {"requests": self.requests.kept(), "processes": self.processes.kept()}
        try:
            self.counters.ledger().write(zlib.compress(json.dumps(sums).encode("ascii"), 1))
        except ValueError as error:
            log.error("requests by route and key will begin anew with another management process: %s", error)

    def _restore_sums(self, left: bytes) -> None:
        if not left:
            return
        try:
            sums = json.loads(zlib.decompress(left))
            self.requests.restore(sums["requests"])
            self.processes.restore(sums["processes"])
        except (ValueError, LookupError, TypeError, zlib.error) as error:  # of a version that wrote them otherwise
            log.error("requests by route and key begin anew: what was left of them cannot be read: %s", error)

    def _write_failures(self) -> int:
        return self.failures_before + sum(writer.failures for writer in self.writers)

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY)
            self.keep()
            if not self.standing_by:
                self.lines.look()

    async def samples(self) -> list[Sample]:
        """All metrics. What was shown once never goes back, whoever dies or takes over."""
        if self.standing_by:
            self.count_on()  # what the one before has counted by now
        relays = self.counters.relays()
        running = {"relay": [relay.pid for relay in relays], "management": [os.getpid()], "supervisor": [os.getppid()]}
        # Of processes the one at work tells alone: two that look at different moments would contradict each other.
        processes = [] if self.standing_by else self.processes.samples(running)
        self.requests.fresh = True  # processes have been looked at
        self.keep()
        return [
            ("build_info", labels(version=__version__, build=build()), 1),
            *self._counter_samples(),
            *self.requests.samples(self.settings.metrics),
            *processes,
            ("relays_up", "", len(relays)),
            ("restarts_total", "", self.counters.restarts),
            ("configuration", "", self.report.number),
            ("configurations_taken_total", "", self.report.taken),
            ("configurations_refused_total", "", self.report.failed),
            ("slots_taken", "", self.slots.taken()),
            ("slots_highest", "", self.slots.highest()),
            ("slots_limit", "", self.settings.limits.concurrent_requests_per_ip),
            ("messages_dropped_total", "", self.counters.dropped() + self.receiver.unknown),
            ("log_lines_unwritten_total", "", self.lines.dropped),
            ("last_uses_unwritten_total", "", self.uses.dropped),
            ("usage_unwritten_total", "", self.usage.dropped),
            ("old_tls_unwritten_total", "", self.old_tls.dropped),
            ("store_write_failures_total", "", self._write_failures()),
            *(("certificate_expiry_timestamp_seconds", _of(one), one.ends) for one in self.certificates),
            *upstream_servers.samples(self.seen_servers()),
            *await self._key_samples(),
            *(database.samples(self.keeper) if self.keeper is not None else ()),
            *(self.hosts.samples() if self.hosts is not None else ()),
        ]

    def _counter_samples(self) -> list[Sample]:
        """What relays count, but for what says more of the worst of them, and of each listener."""
        totals = self.counters.totals(self.names, self.gauges)
        at_listeners = [totals.pop(name) for name in self.names if name.startswith(AT_LISTENER)]
        lag = self.counters.highest(LAG) / 1e6
        totals.pop(LAG, None)
        return [
            *counter_samples(totals, self.gauges),
            ("loop_lag_seconds", "", lag),
            *(
                ("in_flight_by_listener", labels(listener=address_text(each.host, each.port)), in_flight)
                for each, in_flight in zip(self.settings.listeners, at_listeners, strict=False)
            ),
        ]

    async def _key_samples(self) -> list[Sample]:
        now = asyncio.get_running_loop().time()
        if now - self.keys_counted >= COUNT_KEYS_EVERY:
            try:
                self.keys, self.accounts = await self.store.count_keys(), await self.store.count_accounts()
            except Exception as error:  # noqa: BLE001 - metrics must be there above all when something is broken
                self._say_once(f"the store cannot be read: {error}")
                return []
            self.keys_counted = now
        return [("keys", "", self.keys), ("accounts", "", self.accounts)]

    # -- the channel ------------------------------------------------------------------------------------

    def receive(self) -> None:
        """What relays have sent; the event loop calls again while there is more."""
        self.receiver.receive()

    def take_usage(self, payload: bytes) -> None:
        """Usage from a relay, for the store; and for metrics where they are to tell of keys."""
        self.usage.add(payload)
        if self.settings.metrics.keys:
            self.requests.add_usage(payload)

    def take_over(self, *, from_another: bool = False) -> None:
        """From now on receive what relays send, and watch the configuration: only one process may.

        ``from_another``: that one may not have come to take up what it saw last.
        """
        self.standing_by = False
        self.count_on()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.receiver, self.receive)
        if self.watch is not None:
            self.watching = loop.create_task(_watched(self.watch, at_once=from_another))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """From the first to the last request; at the end all that relays handed over is written."""
        loop = asyncio.get_running_loop()
        writers: tuple[BatchWriter | Exposures, ...] = (*self.writers, self.exposures)
        writing = [loop.create_task(writer.run()) for writer in writers]
        writing.append(loop.create_task(self._keep_on()))
        if self.keeper is not None:
            writing.append(loop.create_task(self.keeper.run()))
        if self.hosts is not None:
            writing.append(loop.create_task(self.hosts.run()))
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
        await asyncio.to_thread(self.spans.close, LAST_LINES)
        self.keep()
        if self.hosts is not None:
            await self.hosts.close(stays=self.replaced or self.standing_by)
        if self.keeper is not None:
            await self.keeper.close()
        await self.store.close()
        if self.passwords is not None:
            await self.passwords.close()


async def _watched(watch: Watch, *, at_once: bool) -> None:
    if at_once:
        await watch.reload()
    await watch.run()


def _of(certificate: CertificateEnd) -> str:
    return labels(place=certificate.place, file=certificate.file)
