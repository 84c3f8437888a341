"""Health checks: management asks upstreams' servers whether they are well, and says so to all relays.

Law: asks, counts and publishes; nothing else depends on it. When this process is dead the last results stay where
relays read them, and grow old. A question is one GET on a connection of its own, over TLS as requests have it;
redirects are not followed, and of an answer only its head is read (bounded by aiohttp), within ``timeout``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import (
    BaseConnector,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    UnixConnector,
)
from yarl import URL

from keystile.config.model import HealthCheck, Server
from keystile.limits.servers import DOWN, UNKNOWN, UP
from keystile.wire import unix

log = logging.getLogger(__name__)

PUBLISH_EVERY: Final = 1.0
"""Seconds between two signs of life; what changes is said at once."""
LARGEST_HEAD: Final = 8190
"""Bytes of one line of an answer's head (aiohttp's own default; it bounds the whole by the number of lines)."""


@dataclass(frozen=True, slots=True)
class Target:
    """One server to ask: its place among all (``limits/servers.py``), and how it is reached."""

    at: int
    upstream: str
    server: Server
    check: HealthCheck
    host_field: str
    context: ssl.SSLContext | None = None
    server_name: str | None = None


class Tally:
    """What one server has answered lately. ``state``: UNKNOWN until the first answers have decided."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._row = 0  # answers of the same kind, one after the other: good ones above 0, bad ones below
        self.state = UNKNOWN

    def heard(self, well: bool) -> bool:
        """Count one answer; whether that changed the state."""
        self._row = max(self._row, 0) + 1 if well else min(self._row, 0) - 1
        before = self.state
        if self._row >= self._check.healthy_after:
            self.state = UP
        elif -self._row >= self._check.unhealthy_after:
            self.state = DOWN
        return self.state != before


Tallies = dict[tuple[str, Server, HealthCheck], Tally]
"""Of every server by what is asked of it: what is the same in the next configuration goes on counting."""
Ask = Callable[[Target], Awaitable[str]]
"""Asks once; what it returns is what was wrong, or nothing."""


class Prober:
    """Asks all ``targets``. ``count``: how many servers there are in all; ``publish`` is given a byte for each.

    ``known``: what the process before this one has said of all servers, if anything: a server that was down stays so
    until it answers.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        count: int,
        publish: Callable[[bytes], None],
        before: Tallies,
        ask: Ask | None = None,
        known: bytes = b"",
    ) -> None:
        self._targets = targets
        self._count = count
        self._publish = publish
        self._ask = ask or probe
        self.tallies: Tallies = {_key(each): before.get(_key(each)) or _tally(each, known) for each in targets}

    async def run(self) -> None:
        """Until cancelled. Servers are asked one after the other within an interval, not all at once."""
        self.publish()
        async with asyncio.TaskGroup() as group:
            for number, target in enumerate(self._targets):
                group.create_task(self._watch(target, target.check.interval * number / len(self._targets)))
            group.create_task(self._show_life())

    async def _watch(self, target: Target, first: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + first
        while True:
            await asyncio.sleep(due - loop.time())
            due = loop.time() + target.check.interval
            self.heard(target, await self._ask(target))

    async def _show_life(self) -> None:
        while True:
            await asyncio.sleep(PUBLISH_EVERY)
            self.publish()

    def heard(self, target: Target, trouble: str) -> None:
        """Count what came of one question; ``trouble``: what was wrong, or nothing."""
        tally = self.tallies[_key(target)]
        before = tally.state
        if not tally.heard(not trouble):
            return
        if tally.state == DOWN:
            log.warning("upstream %s: %s is down: %s", target.upstream, target.server.address, trouble)
        elif before == DOWN:
            log.warning("upstream %s: %s is up again", target.upstream, target.server.address)
        self.publish()

    def publish(self) -> None:
        """Say what is known of all servers; of those that nobody asks, nothing."""
        states = bytearray([UNKNOWN]) * self._count
        for target in self._targets:
            states[target.at] = self.tallies[_key(target)].state
        self._publish(bytes(states))


def _tally(target: Target, known: bytes) -> Tally:
    tally = Tally(target.check)
    if target.at < len(known):
        tally.state = known[target.at]
    return tally


def _key(target: Target) -> tuple[str, Server, HealthCheck]:
    return target.upstream, replace(target.server, weight=1), target.check


async def probe(target: Target) -> str:
    """Ask one server once. What is returned goes into the log: statuses and reasons, nothing that a server wrote."""
    try:
        async with asyncio.timeout(target.check.timeout), _session(target) as session:
            return await _ask(session, target)
    except TimeoutError:
        return f"no answer within {target.check.timeout:g} s"
    except (ClientError, OSError, ValueError) as error:  # ValueError: a name that no certificate can be for
        number = error.errno if isinstance(error, OSError) else None
        return f"{type(error).__name__}" + (f" (errno {number})" if number else "")


async def _ask(session: ClientSession, target: Target) -> str:
    server = target.server
    place = "localhost" if server.unix is not None else server.address
    url = URL(f"{'https' if server.tls else 'http'}://{place}{target.check.path}", encoded=True)
    name = target.server_name if server.tls else None
    async with session.get(url, allow_redirects=False, server_hostname=name) as answer:
        well = any(first <= answer.status <= last for first, last in target.check.statuses)
        return "" if well else f"it answers with {answer.status}"


@asynccontextmanager
async def _session(target: Target) -> AsyncIterator[ClientSession]:
    """A session for one question: no connection, cookie or name is remembered for the next."""
    path = target.server.unix
    with nullcontext("") if path is None else unix.short(path) as place:
        async with ClientSession(
            connector=_connector(target, place),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=target.check.timeout),
            auto_decompress=False,
            max_line_size=LARGEST_HEAD,
            max_field_size=LARGEST_HEAD,
            headers={"Host": target.host_field, "User-Agent": "keystile-health-check"},
        ) as session:
            yield session


def _connector(target: Target, place: str) -> BaseConnector:
    if target.server.unix is not None:
        return UnixConnector(place, force_close=True)
    return TCPConnector(ssl=target.context or True, force_close=True, use_dns_cache=False)
