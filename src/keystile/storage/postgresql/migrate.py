"""Bring a database to the schema this version knows: numbered SQL files, each in one transaction, in a schema of ours.

Law: this file knows how, not what: the statements stand in ``migrations/postgresql-*.sql``. Of many hosts that start
at once one does the work, under a lock of the database. A database is never made: its owner does that.

Hosts are upgraded one after the other, so a database of a newer schema is good for an older program as long as its
scripts say so (the rule stands in ``storage/migrate.py``); ``schema_version.oldest`` keeps what they said, and NULL or
no such column means the number itself. A script that is not for a program that a host was heard of with is not run.
"""

from __future__ import annotations

from contextlib import suppress

from psycopg.errors import InsufficientPrivilege

from keystile.storage.errors import StoreError, StoreUnreadable, mismatch
from keystile.storage.migrate import Series, must_be_for, oldest_for
from keystile.storage.postgresql.connection import MIGRATION, SCHEMA, Connection
from keystile.storage.postgresql.database import Database

SERIES = Series(0, "postgresql-")
_WHOSE = f"""SELECT to_regclass('{SCHEMA}.schema_version') IS NOT NULL,
    (SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('{SCHEMA}'))"""
_ENCODING = "SELECT current_setting('server_encoding')"
# A column that schema 1 does not have.
VERSION = f"""SELECT version, coalesce(CAST(to_jsonb(s) ->> 'oldest' AS integer), version)
    FROM {SCHEMA}.schema_version s"""
_HAS_OLDEST = f"SELECT jsonb_exists(to_jsonb(s), 'oldest') FROM {SCHEMA}.schema_version s"
_HOSTS = f"""SELECT name, knows FROM {SCHEMA}.hosts
    WHERE knows < ? AND heard > extract(epoch FROM clock_timestamp()) - ? ORDER BY name"""
_HOSTS_SINCE = 2
HEARD = 60.0
"""Seconds for which a host that was heard of counts as one that runs."""


async def prepare(database: Database) -> None:
    """Bring it to the newest schema. Raises StoreError when it cannot be reached, is not ours, or is not for us."""
    connection = Connection(database, lock=MIGRATION)
    try:
        if await check(connection) >= SERIES.newest:
            return
        await connection.begin()
        try:
            await _bring_up_as(connection)  # from what another host has left by now
            await connection.commit()
        except BaseException:
            await connection.roll_back()
            raise
    finally:
        with suppress(StoreError):
            await connection.close()


async def check(connection: Connection) -> int:
    """Return the schema's number, 0 where there is none yet. Raises StoreMismatch for a foreign one, or not for us."""
    return (await _checked(connection))[0]


async def _checked(connection: Connection) -> tuple[int, int]:
    """The schema's number, and how old a program may be that works with it."""
    [(encoding,)] = await connection.ask(_ENCODING)
    if encoding != "UTF8":
        raise mismatch(connection.place, f"its texts are {encoding}; make a database with ENCODING 'UTF8'")
    [(is_ours, tables)] = await connection.ask(_WHOSE)
    if not is_ours:
        if tables:
            raise mismatch(connection.place, f"its schema {SCHEMA} is of something else")
        return 0, 0
    [(version, oldest)] = await connection.ask(VERSION)
    must_be_for(connection.place, version, oldest, SERIES.newest)
    return version, oldest


async def _bring_up_as(connection: Connection) -> None:
    """Raises StoreMismatch for who may not: then waiting mends nothing, and no host goes on as if it did."""
    version, _ = await _checked(connection)
    try:
        await _bring_up(connection)
    except StoreUnreadable as fault:
        if not isinstance(fault.__cause__, InsufficientPrivilege):
            raise
        what = f"schema {version} must be brought to {SERIES.newest}" if version else f"a schema {SCHEMA} must be made"
        why = f"{what}, which this user may not do: {fault.why}; let the owner do it, or make this user the owner"
        raise mismatch(connection.place, why) from fault


async def _bring_up(connection: Connection) -> None:
    version, oldest = await _checked(connection)
    if version == 0:
        await _begin(connection)
    await _must_let_go_on(connection, version, SERIES.oldest_after(version, oldest))
    for number, script in SERIES.scripts().items():
        if number > version:
            await connection.ask(script)
            oldest = max(oldest, oldest_for(number, script))
            await connection.ask(f"UPDATE {SCHEMA}.schema_version SET version = {number}")
    if (await connection.ask(_HAS_OLDEST))[0][0]:
        await connection.ask(f"UPDATE {SCHEMA}.schema_version SET oldest = {oldest}")


async def _begin(connection: Connection) -> None:
    [(exists,)] = await connection.ask(f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL")
    if not exists:  # asked for, since who may only use it may not say IF NOT EXISTS either
        await connection.ask(f"CREATE SCHEMA {SCHEMA}")
    await connection.ask(f"CREATE TABLE {SCHEMA}.schema_version (version integer NOT NULL)")
    await connection.ask(f"INSERT INTO {SCHEMA}.schema_version VALUES (0)")


async def _must_let_go_on(connection: Connection, version: int, needed: int) -> None:
    """Raise StoreMismatch where a host runs that could not go on. Before schema 2 nobody knows of hosts."""
    if version < _HOSTS_SINCE:
        return
    if left := await connection.ask(_HOSTS, (needed, HEARD)):
        names = ", ".join(f"{name} (knows {knows})" for name, knows in left)
        why = f"schema {SERIES.newest} is not for hosts that run: {names}; upgrade or stop them first"
        why += f", or wait for {HEARD:g} s where one was killed"
        raise mismatch(connection.place, why)
