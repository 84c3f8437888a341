"""What a database is measured at, for ``reckoning.py``: a PostgreSQL of our own, durable, on this machine's disk.

Law: processor time of the whole server (all of its processes), for what the program's own classes ask of it; by the
clock only what hosts do one at a time.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from keystile.keys.service import KeyService
from keystile.management.hosts import EVERY
from keystile.storage.postgresql import changes
from keystile.storage.postgresql.connection import SCHEMA, Connection
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.keeper import CHANNEL
from tests.cluster.reckoning_hosts import CONNECTIONS, Host, Watched, at_work, fill, hosts_of
from tests.cluster.reckoning_sums import Fleet, Line, StoreCosts, Turn
from tests.storage.postgres_server import Server, server

BY: Final[dict[str, Any]] = {"actor": "operator (command line)", "origin": "console"}
OWNER: Final = "reckoning@example.com"
FEW, MANY = 10, 1000
"""Rows of a small and of a large transaction of uses."""
ROWS: Final = {FEW: 2000, MANY: 10_000}
"""Rows of all transactions of such a size."""
LATER: Final = 0.3
"""Seconds in which the server writes what it has not written yet (wal_writer_delay is 0.2)."""
ALONE, HEARD, FETCHED, ROUNDS, IDLE_SECONDS = 60, 60, 30, 5, 6.0
"""Changes that nobody hears, that all hear, that all fetch; rounds of polls; seconds of doing nothing else."""
DEAD_SHARE: Final = 0.2
"""Of a table's rows that have to be dead before PostgreSQL vacuums it (autovacuum_vacuum_scale_factor)."""
_PATIENCE: Final = 30.0
Condition = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class StoreMeasured:
    """``costs``, and what is told beside them: microseconds of a ``poll`` and of a ``refresh`` (a row said, all read),
    seconds of the server for a host that reads ``whole``, bytes of a connection's own (``size``) and of WAL."""

    costs: StoreCosts
    poll: float
    refresh: float
    whole: float
    size: float
    wal_change: float
    wal_use: float


def spent(database: Server) -> float:
    """Seconds of processor time of the server: of those of its processes that run, and of those that have ended."""
    running = 0
    pids = database.pids()
    for pid in pids:
        try:
            running += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])  # nanoseconds
        except FileNotFoundError:  # has ended meanwhile, ps itself not being one of them
            continue
    fields = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()
    return running / 1e9 + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def own_memory(database: Server) -> float:
    """Bytes that each of its processes has for itself, on average: most of them serve a connection."""
    sizes = []
    for pid in database.pids()[1:]:
        try:
            said = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except FileNotFoundError:
            continue
        sizes.append(sum(int(line.split()[1]) for line in said.splitlines() if line.startswith("Private_")))
    return 1024 * sum(sizes) / len(sizes)


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
        self._service = KeyService(hosts[0].store)
        self._asking = Connection(database)
        self._hour = int(time.time() // 3600)
        self._ids: list[str] = []
        self._now = time.time()

    async def all(self) -> StoreMeasured:
        try:
            await self._service.create_account(OWNER, **BY)
            fill(self._server, self._database, self._fleet.keys, self._hour)
            self._ids = [key for (key,) in await self._asking.ask(f"SELECT id FROM {SCHEMA}.keys")]
            return await self._all()
        finally:
            await self._asking.close()

    async def _all(self) -> StoreMeasured:
        alone, change_turn, wal_change = await self._alone()
        before = await self._wal()
        uses, uses_turn = await self._noted(self._use)
        wal_use = (await self._wal() - before) / sum(ROWS.values())
        usage, usage_turn = await self._noted(self._count)
        vacuum = await self._cost(1, self._vacuum) / (DEAD_SHARE * self._fleet.keys)
        uses, usage = (Line(each.fixed, each.each + vacuum) for each in (uses, usage))
        whole = await self._cost(1, self._read_whole)
        notice = await self._notice(alone)
        poll = await self._each(lambda host: host.store.take_in())
        refresh = await self._each(lambda host: host.table.speak())
        async with at_work(self._hosts, within=EVERY):
            await _until(lambda: all(each.keeper.connected for each in self._hosts))
            idle = await self._cost(1, lambda: asyncio.sleep(IDLE_SECONDS)) / 1e6 / (IDLE_SECONDS + LATER)
            size = own_memory(self._server)
            fetched = await self._cost(FETCHED, lambda: self._change(FETCHED, self._fetched))
        fetch = max(0.0, (fetched - alone) / len(self._hosts) - notice)
        costs = StoreCosts(idle, alone, notice, fetch, uses, usage, change_turn, uses_turn, usage_turn)
        return StoreMeasured(costs, poll, refresh, whole / 1e6, size, wal_change, wal_use)

    # Changes

    async def _alone(self) -> tuple[float, Turn, float]:
        """What a change costs that nobody hears, how long it keeps its turn, and its bytes of WAL."""
        watched = self._hosts[0].changes
        await self._change(3)
        watched.forget()
        before = await self._wal()
        cost = await self._cost(ALONE, lambda: self._change(ALONE))
        turn = Turn(Line(watched.seconds / watched.turns * 1e6, 0.0), _trips(watched))
        return cost, turn, (await self._wal() - before) / ALONE

    async def _change(self, times: int, known: Callable[[], Condition] | None = None) -> None:
        """Create, edit and delete a key, and so on; what ``known`` says before each is waited for after it."""
        for at in range(times):
            waiting = None if known is None else known()
            if at % 3 == 0:
                await self._service.create(OWNER, "key", ["ViewContacts"], **BY)
            elif at % 3 == 1:
                await self._service.edit(OWNER, "key", scopes=["ModifyContacts"], **BY)
            else:
                await self._service.delete(OWNER, "key", **BY)
            if waiting is not None:
                await _until(waiting)

    async def _notice(self, alone: float) -> float:
        """Microseconds for one listener that is told of a change and asks nothing."""
        listeners = [Listener(self._database) for _ in self._hosts]

        def heard() -> Condition:
            before = [(each, each.heard) for each in listeners]
            return lambda: all(each.heard > heard for each, heard in before)

        try:
            for each in listeners:
                await each.begin()
            cost = await self._cost(HEARD, lambda: self._change(HEARD, heard))
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
        for rows in (FEW, MANY):
            for host in self._hosts:
                host.uses.forget()
            count = ROWS[rows] // rows
            cost = await self._cost(count, partial(self._note, note, rows, count))
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

    async def _cost(self, times: int, work: Callable[[], Awaitable[object]]) -> float:
        """Microseconds of the server for each of so many things that ``work`` does."""
        before = spent(self._server)
        await work()
        await asyncio.sleep(LATER)
        return (spent(self._server) - before) / times * 1e6

    async def _vacuum(self) -> None:
        await asyncio.to_thread(
            self._server.run, f"VACUUM ANALYZE {SCHEMA}.usage, {SCHEMA}.last_uses", dict(self._database.options)["dbname"]
        )

    async def _read_whole(self) -> None:
        await changes.since(self._asking, None)

    async def _wal(self) -> float:
        """Bytes that have been written to it."""
        [(found,)] = await self._asking.ask("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return float(found)


class Listener:
    """A connection that hears of changes, and counts them."""

    def __init__(self, database: Database) -> None:
        self.heard = 0
        self._connection = Connection(database)
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await self._connection.listen(CHANNEL)
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._connection.close()

    async def _run(self) -> None:
        while True:
            self.heard += await self._connection.notified(_PATIENCE)


async def _until(condition: Condition) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(_PATIENCE):
        while not condition():  # noqa: ASYNC110 - it is of a hundred hosts, none of which sets an event
            await asyncio.sleep(0.002)


def _trips(*watched: Watched) -> int:
    """Round trips in which a turn is kept: one for each statement, and halves for the answer to ``begin`` and for
    ``commit``."""
    return round(sum(each.asked for each in watched) / sum(each.turns for each in watched)) + 1
