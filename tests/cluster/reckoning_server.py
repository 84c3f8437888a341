"""What a PostgreSQL server takes of its machine, and a listener to it, for ``reckoning_store.py``.

Law: it reads ``/proc`` and counts; what is done to the server meanwhile is its caller's.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from keystile.storage.postgresql.connection import Connection
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.keeper import CHANNEL
from tests.processor import cpu_of
from tests.storage.postgres_server import Server

_LOOK_SECONDS = 10.0


def spent(database: Server) -> float:
    """Seconds of processor time of the server: of those of its processes that run, and of those that have ended."""
    running, pids = 0.0, database.pids()
    for pid in pids:
        with suppress(OSError):  # it has ended meanwhile
            running += cpu_of(pid)
    fields = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()
    return running + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


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
            self.heard += await self._connection.notified(_LOOK_SECONDS)
