"""The link to the server that lends slots: connecting, getting ready, beating, and connecting again.

Law: it keeps a holder (``holder.py``) connected, and says what keeps it from that. It decides nothing about units.

A server that would throw our keys away when its memory is full is not counted by (``maxmemory-policy`` other than
noeviction): it might lend what it has forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Final

from keystile.cluster import scripts
from keystile.cluster.connection import Connection
from keystile.cluster.finding import primary
from keystile.cluster.greeting import Greeter, Unusable, facts
from keystile.cluster.holder import Holder
from keystile.cluster.rounds import BEATS
from keystile.cluster.scripts import ServerError
from keystile.config.model import SharedSlots

log = logging.getLogger("keystile.cluster")

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.5
"""Seconds between attempts to connect: short at first, since what is held is soon not sure any more."""
WARNING_SECONDS: Final = 10.0
"""Between two lines about the same trouble."""
OLDEST: Final = 7
"""The major version from which on scripts can say that they may run where memory is full (also Valkey's first)."""


class Link:
    """Keeps ``holder`` connected to the server of ``settings``. ``trouble``: why it is not, or None."""

    def __init__(self, settings: SharedSlots, holder: Holder) -> None:
        self.trouble: str | None = "not yet connected"
        self.connections = 0
        self._settings = settings
        self._holder = holder
        self._greeter = Greeter(settings)
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._over = asyncio.Event()
        self._warned = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def run(self) -> None:
        """Connect again and again, until ``close``."""
        self._beat()
        pause = FIRST_PAUSE
        while not self._is_closed:
            self._over.clear()
            try:
                async with asyncio.timeout(self._settings.lease_time):
                    await self._connect()
            except (OSError, ServerError, Unusable, TimeoutError) as error:
                self._fail(error)
            else:
                pause, self.trouble = FIRST_PAUSE, self._holder.doubt
                await self._over.wait()
                if not self._is_closed:
                    self.trouble = self._holder.doubt or "the connection was lost"
                if self._holder.doubt is not None:
                    self._warn()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def close(self) -> None:
        """Give everything back, and end."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._holder.leave()
        if self._connection is not None:
            self._connection.close()
        self._over.set()

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self._settings.lease_time / BEATS, self._beat)
        self._holder.beat()
        if self._connection is not None:
            if self._holder.is_connected():
                self.trouble = self._holder.doubt
            else:
                self._end()  # the holder has given this connection up

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._over.set()

    def _lost(self) -> None:
        self._connection = None
        self._holder.lost()
        self._over.set()

    def _fail(self, error: Exception) -> None:
        """Nothing came of this attempt."""
        self._end()
        self._holder.lost()
        said = str(error) if not isinstance(error, TimeoutError) else ""
        self.trouble = said or f"no answer within {self._settings.lease_time:g} s"
        self._holder.cannot_connect()
        self._warn()

    def _warn(self) -> None:
        if monotonic() - self._warned >= WARNING_SECONDS:
            self._warned = monotonic()
            log.warning("slots are not counted over hosts: %s: %s", self._settings.address, self.trouble)

    async def _connect(self) -> None:
        host, port = await primary(self._settings, self._greeter)
        connection = await self._greeter.connect(host, port, self._holder.heard, self._lost)
        try:
            incarnation = _incarnation(await facts(connection, b"server", b"replication", b"memory"))
            await asyncio.gather(*(connection.ask(b"SCRIPT", b"LOAD", script.text) for script in scripts.ALL))
            await connection.ask(b"EVALSHA", scripts.FIT.digest, 1, scripts.EPOCH_KEY)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        connection.tell(b"SUBSCRIBE", self._holder.channel())
        self.connections += 1
        self._holder.open(connection, incarnation)


def _incarnation(facts: Mapping[str, str]) -> bytes:
    """What names the server as it is, until it restarts or another takes its place. Raises Unusable."""
    version = facts.get("redis_version", "0").partition(".")[0]
    if int(version) < OLDEST:
        raise Unusable(f"version {facts.get('redis_version')} is too old; 7.0 or later, or any Valkey, is needed")
    if facts.get("role") != "master":
        raise Unusable("this server is a replica; the address must be the primary's")
    if int(facts.get("maxmemory", "0")) and facts.get("maxmemory_policy") != "noeviction":
        policy = facts.get("maxmemory_policy")
        raise Unusable(f"it throws keys away when its memory is full (maxmemory-policy {policy}); set noeviction")
    return f"{facts.get('run_id')}:{facts.get('master_replid')}".encode("ascii")
