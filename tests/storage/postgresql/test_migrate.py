from __future__ import annotations

import asyncio

import psycopg
import pytest

from keystile.storage.errors import StoreUnreadable
from keystile.storage.postgresql.migrate import SERIES, prepare
from tests.storage.engines import PostgresEngine
from tests.storage.postgres_server import Server


async def test_many_hosts_may_make_it_at_once(postgres: Server) -> None:
    database = postgres.database()
    await asyncio.gather(*(prepare(database) for _ in range(6)))
    engine = PostgresEngine(database, postgres.folder)
    assert engine.run("SELECT version FROM schema_version") == [(max(SERIES.scripts()),)]
    assert engine.run("SELECT count(*) FROM changes") == [(1,)]


async def test_a_migration_that_fails_leaves_nothing(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    database = postgres.database()
    scripts = {**SERIES.scripts(), 2: "CREATE TABLE half (x integer); SELECT 1/0"}
    with monkeypatch.context() as patched:
        patched.setattr(type(SERIES), "scripts", lambda _: scripts)
        with pytest.raises(StoreUnreadable):
            await prepare(database)
    assert PostgresEngine(database, postgres.folder).run("SELECT to_regnamespace('keystile') IS NULL") == [(True,)]
    await prepare(database)


async def test_a_newer_schema_is_said_so_and_left_alone(engine: PostgresEngine) -> None:
    engine.run("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreUnreadable, match=f"it is of a newer Keystile: schema 99; known: {max(SERIES.scripts())}"):
        await prepare(engine.database)


async def test_somebody_elses_schema_is_left_alone(postgres: Server) -> None:
    database = postgres.database()
    name = dict(database.options)["dbname"]
    postgres.run("CREATE SCHEMA keystile", name)
    await prepare(database)  # an empty one, made by whoever owns the database, is taken
    postgres.run("DROP SCHEMA keystile CASCADE; CREATE SCHEMA keystile; CREATE TABLE keystile.keys (x integer)", name)
    with pytest.raises(StoreUnreadable, match="its schema keystile is of something else"):
        await prepare(database)


async def test_another_encoding_is_refused(postgres: Server) -> None:
    postgres.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreUnreadable, match="its texts are LATIN1"):
        await prepare(postgres.named("latin"))


async def test_who_may_not_make_a_schema_is_told(postgres: Server) -> None:
    database = postgres.database()
    name = dict(database.options)["dbname"]
    postgres.run(f"CREATE ROLE guest_{name} LOGIN")
    guest = type(database)(tuple({**dict(database.options), "user": f"guest_{name}"}.items()))
    with pytest.raises(StoreUnreadable, match="permission denied for database"):
        await prepare(guest)
    postgres.run(f"CREATE SCHEMA keystile AUTHORIZATION guest_{name}", name)
    await prepare(guest)


async def test_who_changes_a_key_past_us_is_logged_in_the_order_of_commits(engine: PostgresEngine) -> None:
    """The trigger takes the lock as well: a number that is given out is committed before the next one is."""
    engine.run("INSERT INTO accounts VALUES ('a', 'ann@x.org', false, 0)")
    add = "INSERT INTO keys VALUES (?, 'a', ?, '', '', NULL, 0, 1)"
    for name in "kl":
        engine.run(add, (name, name))
    with engine._connected() as first, engine._connected() as second:
        first.execute(b"BEGIN")
        first.execute(b"UPDATE keys SET version = 2 WHERE id = 'k'")
        second.execute(b"SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(b"UPDATE keys SET version = 2 WHERE id = 'l'")
        first.execute(b"ROLLBACK")
        second.execute(b"UPDATE keys SET version = 2 WHERE id = 'l'")
    assert engine.run("SELECT seq, key_id FROM changes WHERE seq > 1") == [(2, "l")]  # and without a gap
