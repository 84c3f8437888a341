"""What a database is measured at, for ``reckoning.py``: a PostgreSQL of our own, durable, on this machine's disk.

Law: processor time of the whole server (all of its processes), for what the program's own classes ask of it; by the
clock only what hosts do one at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from keystile.keys.service import KeyService
from keystile.management.hosts import EVERY
from keystile.storage.postgresql import changes
from keystile.storage.postgresql.connection import SCHEMA, Connection
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.keeper import POLL
from tests.cluster.reckoning_hosts import CONNECTIONS, Host, Watched, at_work, fill, hosts_of
from tests.cluster.reckoning_server import Listener, own_memory, spent
from tests.cluster.reckoning_sums import Fleet, Line, StoreCosts, Turn
from tests.relay.running import until
from tests.storage.postgres_server import Server, server

BY: Final[dict[str, Any]] = {"actor": "operator (command line)", "origin": "console"}
OWNER: Final = "reckoning@example.com"
FEW, MANY = 10, 1000
"""Rows of a small and of a large transaction of uses."""
ROWS: Final = {FEW: 1000, MANY: 8000}
"""Rows of all transactions of such a size."""
LATER: Final = 0.3
"""Seconds in which the server writes what it has not written yet (wal_writer_delay is 0.2)."""
ALONE, HEARD, FETCHED, ROUNDS, IDLE_SECONDS = 20, 12, 8, 5, 6.0
"""Keys that are made, edited and deleted while nobody hears, while all hear, while all fetch; rounds of polls; seconds
of nothing else."""
DEAD_SHARE: Final = 0.2
"""Of a table's rows that have to be dead before PostgreSQL vacuums it (autovacuum_vacuum_scale_factor)."""
Condition = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class StoreMeasured:
    """``costs``, and what is told beside them: microseconds to create, edit and delete a key that nobody hears of
    (``by_kind``), of a ``poll`` and of a ``refresh`` (a row said, all read), seconds of the server for a host that
    reads ``whole``, bytes of a connection's own (``size``) and of WAL for a change and for a row of uses."""

    costs: StoreCosts
    by_kind: list[float]
    poll: float
    refresh: float
    whole: float
    size: float
    wal_change: float
    wal_use: float


async def measure_store(folder: Path, fleet: Fleet) -> StoreMeasured:
    """Start a server and the management of the fleet's hosts, and measure."""
    # Without autovacuum, which comes when it likes: what it does is measured by itself.
    settings = (f"max_connections={fleet.hosts * (CONNECTIONS + 1)}", "autovacuum=off")
    with server(durable=True, settings=settings) as made:
        database = made.database()
        async with hosts_of(database, folder, fleet.hosts) as hosts:
            return await _Measuring(made, database, hosts, fleet).all()


class _Measuring:
    def __init__(self, made: Server, database: Database, hosts: Sequence[Host], fleet: Fleet) -> None:
        self._server = made
        self._database = database
        self._hosts = hosts
        self._fleet = fleet
        self._service = KeyService(hosts[0].store, per_account=fleet.keys)
        self._asking = Connection(database)
        self._hour = int(time.time() // 3600)
        self._ids: list[str] = []
        self._now = time.time()
        self._wal_row = 0.0  # bytes for a row of the transactions that were measured last

    async def all(self) -> StoreMeasured:
        try:
            await self._service.create_account(OWNER, **BY)
            fill(self._server, self._database, self._fleet.keys, self._hour)
            self._ids = [key for (key,) in await self._asking.ask(f"SELECT id FROM {SCHEMA}.keys")]
            return await self._all()
        finally:
            await self._asking.close()

    async def _all(self) -> StoreMeasured:
        by_kind, change_turn, wal_change = await self._alone()
        alone = fmean(by_kind)
        uses, uses_turn = await self._noted(self._use)
        wal_use = self._wal_row
        usage, usage_turn = await self._noted(self._count)
        vacuum = await self._cost(1, self._vacuum) / (DEAD_SHARE * self._fleet.keys)
        uses, usage = (Line(each.fixed, each.each + vacuum) for each in (uses, usage))
        whole = await self._cost(1, self._read_whole)
        notice = await self._notice(alone)
        poll = await self._each(lambda host: host.store.take_in())
        refresh = await self._each(lambda host: host.table.speak())
        async with at_work([host.keeper.run for host in self._hosts], within=POLL):
            await until(lambda: all(each.keeper.connected for each in self._hosts))
            fetched = fmean(await self._changes(FETCHED, self._fetched))
            async with at_work([host.table.run for host in self._hosts], within=EVERY):
                idle = await self._cost(1, lambda: asyncio.sleep(IDLE_SECONDS)) / 1e6 / (IDLE_SECONDS + LATER)
                size = own_memory(self._server)
        fetch = max(0.0, (fetched - alone) / len(self._hosts) - notice)
        costs = StoreCosts(idle, alone, notice, fetch, uses, usage, change_turn, uses_turn, usage_turn)
        return StoreMeasured(costs, by_kind, poll, refresh, whole / 1e6, size, wal_change, wal_use)

    # Changes

    async def _changes(self, keys: int, known: Callable[[], Condition] | None = None) -> list[float]:
        """What it costs to create, edit and delete a key; what ``known`` says before each is waited for after it."""
        create = partial(self._service.create, OWNER, scopes=["ViewContacts"], **BY)
        edit = partial(self._service.edit, OWNER, scopes=["ModifyContacts"], **BY)
        delete = partial(self._service.delete, OWNER, **BY)

        async def all_of(change: Callable[[str], Awaitable[object]]) -> None:
            for at in range(keys):
                waiting = None if known is None else known()
                await change(f"key {at}")
                if waiting is not None:
                    await until(waiting)

        return [await self._cost(keys, partial(all_of, change), later=0.0) for change in (create, edit, delete)]

    async def _alone(self) -> tuple[list[float], Turn, float]:
        """What changes cost that nobody hears, how long one keeps its turn, and its bytes of WAL."""
        watched = self._hosts[0].changes
        await self._changes(2)
        watched.forget()
        before = await self._wal()
        costs = await self._changes(ALONE)
        turn = Turn(Line(watched.seconds / watched.turns * 1e6, 0.0), _trips(watched))
        return costs, turn, (await self._wal() - before) / watched.turns

    async def _notice(self, alone: float) -> float:
        """Microseconds for one listener that is told of a change and asks nothing."""
        listeners = [Listener(self._database) for _ in self._hosts]

        def heard() -> Condition:
            before = [(each, each.heard) for each in listeners]
            return lambda: all(each.heard > heard for each, heard in before)

        try:
            for each in listeners:
                await each.begin()
            cost = fmean(await self._changes(HEARD, heard))
        finally:
            for each in listeners:
                await each.end()
        return max(0.0, (cost - alone) / len(listeners))

    def _fetched(self) -> Condition:
        """That every other host has found one more change than now; the one that makes it knows it already."""
        before = [(each, each.heard_of()) for each in self._hosts[1:]]
        return lambda: all(each.heard_of() > heard for each, heard in before)

    # Uses and usage

    async def _noted(self, note: Callable[[Host, list[str]], Awaitable[None]]) -> tuple[Line, Turn]:
        """What a transaction costs and how long it keeps its turn, by rows."""
        costs, times = [], []
        await self._note(note, FEW, len(self._hosts))  # makes the connections
        for rows in (FEW, MANY):
            for host in self._hosts:
                host.uses.forget()
            count, before = ROWS[rows] // rows, await self._wal()
            cost = await self._cost(count, partial(self._note, note, rows, count))
            self._wal_row = (await self._wal() - before) / ROWS[rows]
            seconds = sum(host.uses.seconds for host in self._hosts)
            costs.append((float(rows), cost))
            times.append((float(rows), seconds / count * 1e6))
        return Line.through(*costs), Turn(Line.through(*times), _trips(*(host.uses for host in self._hosts)))

    async def _note(self, note: Callable[[Host, list[str]], Awaitable[None]], rows: int, count: int) -> None:
        """One transaction of one host after the other, with keys that lie anywhere in the tables."""
        for at in range(count):
            self._now += 1
            await note(self._hosts[at % len(self._hosts)], random.sample(self._ids, rows))

    async def _use(self, host: Host, keys: list[str]) -> None:
        await host.store.record_uses([(key, self._now, "192.0.2.1", "ab12cd34") for key in keys])

    async def _count(self, host: Host, keys: list[str]) -> None:
        await host.store.record_usage([(key, self._hour, "", 1) for key in keys])

    # Anything

    async def _each(self, work: Callable[[Host], Awaitable[object]]) -> float:
        """What one host's work costs, done by all at once in some rounds."""

        async def rounds() -> None:
            for _ in range(ROUNDS):
                await asyncio.gather(*(work(host) for host in self._hosts))

        await asyncio.gather(*(work(host) for host in self._hosts))  # makes the connections
        return await self._cost(ROUNDS * len(self._hosts), rounds)

    async def _cost(self, times: int, work: Callable[[], Awaitable[object]], later: float = LATER) -> float:
        """Microseconds of the server for each of so many things that ``work`` does, and so many seconds after it."""
        before = spent(self._server)
        await work()
        await asyncio.sleep(later)
        return (spent(self._server) - before) / times * 1e6

    async def _vacuum(self) -> None:
        name = dict(self._database.options)["dbname"]
        await asyncio.to_thread(self._server.run, f"VACUUM ANALYZE {SCHEMA}.usage, {SCHEMA}.last_uses", name)

    async def _read_whole(self) -> None:
        await changes.since(self._asking, None)

    async def _wal(self) -> float:
        """Bytes that have been written to it."""
        [(found,)] = await self._asking.ask("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return float(found)


def _trips(*watched: Watched) -> int:
    """Round trips in which a turn is kept: one for each statement, and halves for the answer to ``begin`` and for
    ``commit``."""
    return round(sum(each.asked for each in watched) / sum(each.turns for each in watched)) + 1
