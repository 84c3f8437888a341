"""The table of hosts: each writes its own row, and reads all of them.

Law: rows and statements, on a connection of its own: no change of a key and no note of a use waits for it, nor it for
them. All times are the database's, so hosts whose clocks differ are still told apart by when they were heard of.
"""

from __future__ import annotations

from keystile.storage.asking import Row
from keystile.storage.hosts import Host, HostSays
from keystile.storage.postgresql.connection import Connection
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.migrate import SERIES, VERSION
from keystile.storage.postgresql.store import PostgresStore

FORGOTTEN = 86400.0
"""Seconds after which a host that was not heard of is forgotten."""
_NOW = "extract(epoch FROM clock_timestamp())"
_COLUMNS = "name, run, program, build, configuration, settings, slots, health, troubles, knows"
_VALUES = ", ".join("?" * (1 + _COLUMNS.count(",")))
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", "))
# Placeholders count from 1: the id, the columns, the seconds since the start, and whether another run's row is taken.
_SAY = f"""INSERT INTO hosts (id, {_COLUMNS}, since, heard) VALUES (?, {_VALUES}, {_NOW} - ?, {_NOW})
    ON CONFLICT (id) DO UPDATE SET {_CHANGED}, heard = excluded.heard,
        since = CASE WHEN hosts.run = excluded.run THEN hosts.since ELSE excluded.since END
    WHERE hosts.run = excluded.run OR ? RETURNING id"""
_FORGET = f"DELETE FROM hosts WHERE heard < {_NOW} - ?"
_ALL = f"SELECT id, {_COLUMNS}, since, heard, {_NOW} FROM hosts ORDER BY name, id"
_LEAVE = "DELETE FROM hosts WHERE id = ? AND run = ?"
_KEY = "SELECT value FROM meta WHERE name = 'print_key'"


class HostTable:
    """The table in ``store``'s database, for one host. Everything may raise StoreError."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._connection = Connection(store.database, "SET synchronous_commit = off")

    async def print_key(self) -> bytes:
        """What the hosts make prints of their settings with; it is shown to nobody."""
        [(value,)] = await self._connection.ask(_KEY)
        return bytes.fromhex(value)

    async def say(self, says: HostSays, *, anew: bool) -> bool:
        """Write this host's row. False where another gateway has taken its id since: two have the same.

        ``anew``: for the first time since this process began; then an earlier run's row is taken over.
        """
        await self._look_at_schema()
        troubles = "\n".join(" ".join(each.split()) for each in says.troubles)
        columns = (says.name, says.run, says.program, says.build, says.configuration, says.settings, says.slots)
        values = (says.id, *columns, says.health, troubles, SERIES.newest, says.up, anew)
        said = await self._connection.ask(_SAY, values)
        await self._connection.ask(_FORGET, (FORGOTTEN,))
        return bool(said)

    async def all(self) -> tuple[Host, ...]:
        """Return every host that was heard of within a day, by name."""
        return tuple(map(_host, await self._connection.ask(_ALL)))

    async def leave(self, host_id: str, run: str) -> None:
        """Take the host's row away, unless it is another gateway's by now."""
        await self._connection.ask(_LEAVE, (host_id, run))

    async def close(self) -> None:
        """Close the connection; whoever waits for an answer hears that it is lost."""
        self._connection.cut()
        await self._connection.close()

    async def _look_at_schema(self) -> None:
        """Another host may have brought the store to a schema that is not for this program, unheard by us till now."""
        [(_, oldest)] = await self._connection.ask(VERSION)
        if oldest > SERIES.newest:
            self._store.look_again()


async def all_hosts(database: Database) -> tuple[Host, ...]:
    """Every host of the store in ``database``, for who only looks once. Raises StoreError."""
    connection = Connection(database, "SET default_transaction_read_only = on")
    try:
        return tuple(map(_host, await connection.ask(_ALL)))
    finally:
        await connection.close()


def _host(row: Row) -> Host:
    host_id, name, run, program, build, configuration, settings, slots, health, troubles, knows, *times = row
    since, heard, asked = map(float, times)
    what = (program, build, configuration, settings, slots, health, tuple(troubles.splitlines()))
    return Host(HostSays(host_id, name, run, *what, up=heard - since), knows, since, heard, asked)
