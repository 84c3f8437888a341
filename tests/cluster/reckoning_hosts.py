"""The management of many hosts in one process, as far as their database sees it, for ``reckoning_store.py``.

Law: the program's own classes, each host with connections, tasks and a mirror of its own. What a host does without its
database (relays, pages) is left out, and nothing is measured here but what one host's connection was asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keystile import __version__, build
from keystile.management.hosts import Hosts
from keystile.storage.asking import Asking, Row
from keystile.storage.hosts import HostSays
from keystile.storage.postgresql.connection import SCHEMA
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.hosts import HostTable
from keystile.storage.postgresql.keeper import Keeper
from keystile.storage.postgresql.store import PostgresStore
from tests.storage.postgres_server import Server

CONNECTIONS = 9
"""Of one host: its store's four, the keeper's, the table of hosts', two for sessions and tokens, one for passwords."""
_STARTING = 10  # at once
# Without triggers: nobody is told of these keys, so no host's mirror has them. Each was used once, and the tables are
# as after a vacuum: with room in their pages for the next version of a row.
_FILL = """SET session_replication_role = replica; SET search_path = {schema};
    INSERT INTO accounts SELECT 'a' || n, 'p' || n || '@example.org', false, 0 FROM generate_series(0, {keys} / 10) n;
    INSERT INTO keys SELECT left(md5(n::text), 16), 'a' || n / 10, 'key ' || n, 'ModifyContacts ViewContacts', '',
        NULL, 0, 1 FROM generate_series(1, {keys}) n;
    INSERT INTO digests SELECT sha256(n::text::bytea), left(md5(n::text), 16), '12345', false, NULL
        FROM generate_series(1, {keys}) n;
    INSERT INTO last_uses SELECT id, 1, '192.0.2.1' FROM keys; UPDATE last_uses SET at = 2;
    INSERT INTO usage SELECT id, {hour}, '', 1 FROM keys; UPDATE usage SET requests = 2"""


def fill(server: Server, database: Database, keys: int, hour: int) -> None:
    """Write so many keys, their last uses and their sums of that hour straight into the tables."""
    name = dict(database.options)["dbname"]
    server.run(_FILL.format(schema=SCHEMA, keys=keys, hour=hour), name)
    server.run("VACUUM ANALYZE", name)


class Watched(Asking):
    """A connection on which changes or notes are made, and how long each kept its turn: from the moment at which
    ``begin`` was answered until ``commit`` was. ``asked``: statements between the two."""

    def __init__(self, inner: Asking) -> None:
        self._inner = inner
        self._began = 0.0
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self.turns, self.asked, self.seconds = 0, 0, 0.0

    @property
    def place(self) -> Path | str:
        return self._inner.place

    async def ask(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        self.asked += 1
        return await self._inner.ask(sql, values)

    async def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self.asked += 1
        await self._inner.many(sql, rows)

    async def begin(self) -> None:
        await self._inner.begin()
        self._began = time.monotonic()

    async def commit(self) -> None:
        await self._inner.commit()
        self.seconds += time.monotonic() - self._began
        self.turns += 1

    async def roll_back(self) -> None:
        await self._inner.roll_back()

    async def renew(self) -> None:
        await self._inner.renew()

    async def close(self) -> None:
        await self._inner.close()


class Host:
    """One host's management: its store, who keeps it up to date, and what it says of itself."""

    def __init__(self, name: str, store: PostgresStore) -> None:
        self.name = name
        self.store = store
        self.changes = store._changes = Watched(store._changes)
        self.uses = store._uses = Watched(store._uses)
        self.keeper = Keeper(store)
        self.table = Hosts(HostTable(store), store.path, self._says)

    async def _says(self, host_id: str, _: bytes) -> HostSays:
        """With the question by which health looks at the store."""
        await self.store.account("health@check.invalid")
        what = (__version__, build(), 1, "0" * 32, "by valkeys://slots.example.com:6379 (refuse)", "ok", ())
        return HostSays(host_id, self.name, "0" * 16, *what, up=time.monotonic())

    def heard_of(self) -> int:
        """Changes of other hosts that it has found."""
        return sum(self.keeper.delays.counts)

    async def close(self) -> None:
        """Let go of every connection."""
        await self.keeper.close()
        await self.table.close(stays=False)
        await self.store.close()


@asynccontextmanager
async def hosts_of(database: Database, folder: Path, count: int) -> AsyncIterator[list[Host]]:
    """So many hosts, which do nothing by themselves."""
    found: list[Host] = []
    try:
        for first in range(0, count, _STARTING):
            some = range(first, min(first + _STARTING, count))
            found += await asyncio.gather(*(_opened(database, folder, f"host-{at}") for at in some))
        yield found
    finally:
        for each in found:
            await each.close()


async def _opened(database: Database, folder: Path, name: str) -> Host:
    (folder / name).mkdir()
    return Host(name, await PostgresStore.open(database, folder / name / "keystile-mirror.db"))


@asynccontextmanager
async def at_work(works: Sequence[Callable[[], Coroutine[Any, Any, None]]], within: float) -> AsyncIterator[None]:
    """They run while the block lasts; they begin one after the other in so many seconds, as hosts do that were not
    started at one moment."""
    tasks = []
    for work in works:
        tasks.append(asyncio.create_task(work()))
        await asyncio.sleep(within / len(works))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
