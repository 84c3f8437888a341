"""Bring a database to the schema this version knows: numbered SQL files, each in one transaction, in a schema of ours.

Law: this file knows how, not what: the statements stand in ``migrations/postgresql-*.sql``. Of many hosts that start
at once one does the work, under a lock of the database. A database is never made: its owner does that.
"""

from __future__ import annotations

from contextlib import suppress

from keystile.storage.errors import StoreError, unreadable
from keystile.storage.migrate import Series
from keystile.storage.postgresql.connection import MIGRATION, SCHEMA, Connection
from keystile.storage.postgresql.database import Database

SERIES = Series(0, "postgresql-")
_WHOSE = f"""SELECT to_regclass('{SCHEMA}.schema_version') IS NOT NULL,
    (SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('{SCHEMA}'))"""
_ENCODING = "SELECT current_setting('server_encoding')"


async def prepare(database: Database) -> None:
    """Bring it to the newest schema. Raises StoreError when it cannot be reached, is not ours, or is newer."""
    connection = Connection(database, lock=MIGRATION)
    try:
        if await check(connection) == max(SERIES.scripts()):
            return
        await connection.begin()
        try:
            await _bring_up(connection)  # from what another host has left by now
            await connection.commit()
        except BaseException:
            await connection.roll_back()
            raise
    finally:
        with suppress(StoreError):
            await connection.close()


async def check(connection: Connection) -> int:
    """Return the schema's number, 0 where there is none yet. Raises StoreUnreadable for a foreign or a newer one."""
    [(encoding,)] = await connection.ask(_ENCODING)
    if encoding != "UTF8":
        raise unreadable(connection.place, f"its texts are {encoding}; make a database with ENCODING 'UTF8'")
    [(is_ours, tables)] = await connection.ask(_WHOSE)
    if not is_ours:
        if tables:
            raise unreadable(connection.place, f"its schema {SCHEMA} is of something else")
        return 0
    [(version,)] = await connection.ask(f"SELECT version FROM {SCHEMA}.schema_version")
    newest = max(SERIES.scripts())
    if version > newest:
        raise unreadable(connection.place, f"it is of a newer Keystile: schema {version}; known: {newest}")
    return int(version)


async def _bring_up(connection: Connection) -> None:
    version = await check(connection)
    if version == 0:
        [(exists,)] = await connection.ask(f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL")
        if not exists:  # asked for, since who may only use it may not say IF NOT EXISTS either
            await connection.ask(f"CREATE SCHEMA {SCHEMA}")
        await connection.ask(f"CREATE TABLE {SCHEMA}.schema_version (version integer NOT NULL)")
        await connection.ask(f"INSERT INTO {SCHEMA}.schema_version VALUES (0)")
    for number, script in SERIES.scripts().items():
        if number > version:
            await connection.ask(script)
            await connection.ask(f"UPDATE {SCHEMA}.schema_version SET version = {number}")
