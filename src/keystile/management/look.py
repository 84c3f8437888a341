"""A look at the running gateway: what it does now, in values that a page or the API can show.

Law: looking only, nothing here changes anything. Where numbers live (shared memory, the store, another process) is
the business of whoever makes a ``Desk``. No client address and no key is shown, only how many.

Counts are since the gateway's start, over all relays, dead ones included.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from keystile.config.model import Server, Settings, Upstream
from keystile.management.certificates import CertificateEnd
from keystile.management.health import Health
from keystile.management.servers import SeenServer
from keystile.storage.hosts import HostState, differences
from keystile.wire import unix

ASK_AGAIN_AFTER: Final = 5.0
"""Seconds for which the answer of an upstream's server is good."""
PATIENCE: Final = 1.0
"""Seconds that a server has to accept a connection."""
SILENT: Final = 2.0
"""Seconds without a sign of life after which a relay is called stuck."""
TLS: Final = "tls_"
"""Counters of connections by TLS version begin so: ``tls_1_3``; ``tls_none`` is plain HTTP."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process: ``state`` "stuck" when it has given no sign of life for two seconds."""

    role: Literal["management", "relay"]
    pid: int
    state: Literal["up", "stuck"]
    silent_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots taken by all client addresses, by the one that has most, and how many one address may take."""

    taken: int
    highest: int
    cap: int


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server of an upstream; ``trouble``: why no connection can be made, empty when one can.

    ``left_out``: why relays send it nothing, empty where all do.
    """

    address: str
    trouble: str
    left_out: str = ""

    @property
    def reachable(self) -> bool:
        """Whether it accepts connections."""
        return not self.trouble


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """An upstream by name, and its servers as they answered at most five seconds ago."""

    name: str
    servers: tuple[ServerState, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counts by what happened; ``refused`` by name of the refusal, ``tls`` by version, only what was counted."""

    requests: int
    in_flight: int
    connections: int
    answers: Mapping[str, int]
    refused: Mapping[str, int]
    tls: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The accepted configuration: its number, the file it was read from, and what ``keystile check`` remarks.

    ``fault``: why the file as it is now was not taken; empty where it was.
    """

    version: int
    file: str
    store: str
    warnings: tuple[str, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """All of it at one moment; ``restarts``: processes that were started again since the start.

    ``hosts``: those that share a store in a database, and in what they differ; none where the store is a file.
    """

    configuration: Configuration
    health: Health
    processes: tuple[Process, ...]
    restarts: int
    slots: Slots
    traffic: Traffic
    dropped: Mapping[str, int]
    certificates: tuple[CertificateEnd, ...] = ()
    hosts: tuple[HostState, ...] = ()
    host_differences: tuple[str, ...] = ()


class GatewayView(Protocol):
    """What the operator's pages and the management API ask."""

    async def status(self) -> Status:
        """The gateway now, but for upstreams."""

    async def health(self) -> Health:
        """Its health: reasons (it does not work) and warnings."""

    async def upstreams(self) -> tuple[UpstreamState, ...]:
        """Every upstream; takes up to a second when nobody has asked for five."""


# -- over what the management process has ---------------------------------------------------------------------


class Alive(Protocol):
    """A relay that is up."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def silent_for(self) -> float:
        """Seconds since its last sign of life."""


class Counted(Protocol):
    """The relays' counters (``process.memory.CounterPages``)."""

    @property
    def restarts(self) -> int:
        """Processes that were started again."""

    def relays(self) -> Sequence[Alive]:
        """The relays that are up."""

    def totals(self, names: Sequence[str], gauges: Collection[str] = ()) -> Mapping[str, int]:
        """The sums by name."""

    def dropped(self) -> int:
        """Messages for which the channel had no room."""


class Taken(Protocol):
    """The slot table (``limits.slots.SlotTable``)."""

    def taken(self) -> int:
        """Slots taken by all addresses."""

    def highest(self) -> int:
        """Slots taken by the address that has most."""


class Drops(Protocol):
    """Somebody who drops and counts rather than blocks."""

    @property
    def dropped(self) -> int:
        """How many."""


class Desk(Protocol):
    """What the management process has on its desk (``process.management.Desk``)."""

    @property
    def settings(self) -> Settings:
        """The accepted settings."""

    @property
    def slots(self) -> Taken:
        """The slot table."""

    @property
    def counters(self) -> Counted:
        """The relays' counters."""

    @property
    def names(self) -> Sequence[str]:
        """Their names."""

    @property
    def gauges(self) -> Collection[str]:
        """Those that say how things are now."""

    @property
    def uses(self) -> Drops:
        """The writer of last uses."""

    @property
    def usage(self) -> Drops:
        """The writer of usage."""

    @property
    def old_tls(self) -> Drops:
        """The writer of who uses old TLS versions."""

    @property
    def certificates(self) -> tuple[CertificateEnd, ...]:
        """Those of the accepted configuration."""

    @property
    def lines(self) -> Drops:
        """The writer of the access log."""

    async def health(self) -> Health:
        """All checks."""

    @property
    def fault(self) -> str:
        """Why gateway.yaml as it is now was not taken; empty where it was."""

    def seen_servers(self) -> Sequence[SeenServer]:
        """What is known of every upstream's servers, in the order of the settings."""

    def known_hosts(self) -> tuple[HostState, ...]:
        """The hosts that share the store."""


Connect = Callable[[Server], Awaitable[str]]
"""Tries a connection; what it returns is why there is none, in words for an operator, or nothing."""


class DeskView:
    """``GatewayView`` of a desk. ``version``: number of the accepted configuration; ``clock`` gives seconds."""

    def __init__(
        self,
        desk: Desk,
        version: int,
        *,
        connect: Connect | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._version = version
        self._connect = connect or try_connection
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked = float("-inf")
        self._upstreams: tuple[UpstreamState, ...] = ()

    async def health(self) -> Health:
        """As ``/health`` has it."""
        return await self._desk.health()

    async def status(self) -> Status:
        """Everything but upstreams. The slot table is read without its lock: true to within what is moving."""
        desk, settings = self._desk, self._desk.settings
        totals = desk.counters.totals(desk.names, desk.gauges)
        cap = settings.limits.concurrent_requests_per_ip
        hosts = desk.known_hosts()
        return Status(
            configuration=Configuration(
                self._version, str(settings.file), settings.store_name, settings.warnings, desk.fault
            ),
            health=await desk.health(),
            processes=(Process("management", os.getpid(), "up"), *map(_relay, desk.counters.relays())),
            restarts=desk.counters.restarts,
            slots=Slots(desk.slots.taken(), desk.slots.highest(), cap),
            traffic=traffic(totals),
            dropped=self._dropped(totals),
            certificates=desk.certificates,
            hosts=hosts,
            host_differences=differences(hosts),
        )

    def _dropped(self, totals: Mapping[str, int]) -> dict[str, int]:
        """What could not be written down, by what it was; only what happened."""
        desk = self._desk
        counts = {
            "messages to management": desk.counters.dropped(),
            "access log lines": desk.lines.dropped + totals.get("log_lines_dropped", 0),
            "last uses": desk.uses.dropped + totals.get("uses_dropped", 0),
            "usage sums": desk.usage.dropped + totals.get("usage_dropped", 0),
            "uses of old TLS": desk.old_tls.dropped,
        }
        return {what: count for what, count in counts.items() if count}

    async def upstreams(self) -> tuple[UpstreamState, ...]:
        """Ask every server for a connection, all at once, at most every five seconds however many look."""
        async with self._asking:
            if self._clock() - self._asked >= ASK_AGAIN_AFTER:
                asked = (self._ask(upstream) for upstream in self._desk.settings.upstreams)
                self._upstreams = tuple(await asyncio.gather(*asked))
                self._asked = self._clock()
        known = {(one.upstream, one.address): one.trouble for one in self._desk.seen_servers()}
        return tuple(_with(upstream, known) for upstream in self._upstreams)

    async def _ask(self, upstream: Upstream) -> UpstreamState:
        troubles = await asyncio.gather(*map(self._connect, upstream.servers))
        states = (ServerState(one.address, why) for one, why in zip(upstream.servers, troubles, strict=True))
        return UpstreamState(upstream.name, tuple(states))


def _with(upstream: UpstreamState, known: Mapping[tuple[str, str], str]) -> UpstreamState:
    """The upstream, and what relays do about its servers now."""
    servers = (replace(one, left_out=known.get((upstream.name, one.address), "")) for one in upstream.servers)
    return replace(upstream, servers=tuple(servers))


def traffic(totals: Mapping[str, int]) -> Traffic:
    """The relays' counters by what they mean; what was never counted is left out of the mappings."""

    def family(prefix: str) -> dict[str, int]:
        found = {name.removeprefix(prefix): count for name, count in totals.items() if name.startswith(prefix)}
        return {name: count for name, count in found.items() if count}

    return Traffic(
        requests=totals.get("requests", 0),
        in_flight=totals.get("in_flight", 0),
        connections=totals.get("connections", 0),
        answers=family("status_"),
        refused=family("refused_"),
        tls={_tls_name(name): count for name, count in family(TLS).items()},
    )


def _tls_name(name: str) -> str:
    return "without TLS" if name == "none" else f"TLS {name.replace('_', '.')}"


def _relay(relay: Alive) -> Process:
    return Process("relay", relay.pid, "stuck" if relay.silent_for > SILENT else "up", relay.silent_for)


async def try_connection(server: Server) -> str:
    """Open a connection and close it at once; nothing is sent."""
    try:
        async with asyncio.timeout(PATIENCE):
            writer = await _connected(server)
    except TimeoutError:
        return f"no connection within {PATIENCE:g} s"
    except OSError as error:
        # asyncio joins the reasons of several addresses into one text without a number.
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error) or type(error).__name__
    writer.close()
    with suppress(OSError):  # the server may have reset it already; that it accepted is all we asked
        await writer.wait_closed()
    return ""


async def _connected(server: Server) -> asyncio.StreamWriter:
    if server.unix is None:
        return (await asyncio.open_connection(server.host, server.port))[1]
    with unix.short(server.unix) as place:
        return (await asyncio.open_unix_connection(place))[1]
