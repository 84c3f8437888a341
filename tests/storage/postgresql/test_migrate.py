from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from keystile.keys.keyring import Keyring
from keystile.storage.errors import StoreMismatch, StoreUnreadable
from keystile.storage.migrate import STORE, oldest_for
from keystile.storage.postgresql.migrate import HEARD, SERIES, prepare
from keystile.storage.postgresql.store import PostgresStore
from tests.storage.engines import PostgresEngine
from tests.storage.ground import ANN, BY, admits, writing
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


@contextmanager
def knowing(*numbers: int, **more: str) -> Iterator[None]:
    """Programs of another version: only these scripts are there, and those of ``more`` (``_3="…"``)."""
    scripts = {number: SCRIPTS[number] for number in numbers} | {int(name[1:]): text for name, text in more.items()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(SERIES), "scripts", lambda series: scripts if series is SERIES else STORE_SCRIPTS)
        yield


SCRIPTS, STORE_SCRIPTS = SERIES.scripts(), STORE.scripts()
ADDS = "-- For programs that know schema 1 or later.\nCREATE TABLE added (x integer)"
BREAKS = "-- For programs that know schema 2 or later.\nALTER TABLE accounts DROP COLUMN created"


def rule(engine: PostgresEngine) -> tuple[int, int]:
    [(version, oldest)] = engine.run("SELECT version, oldest FROM schema_version")
    return version, oldest


async def test_a_newer_schema_that_is_not_for_us_is_said_so_and_left_alone(engine: PostgresEngine) -> None:
    for oldest, told in ((None, ""), (99, ""), (7, ", for programs that know 7 or later")):
        engine.run("UPDATE schema_version SET version = 99, oldest = ?", (oldest,))
        said = f"it is of a newer Keystile: schema 99{told}; known: {max(SERIES.scripts())}"
        with pytest.raises(StoreMismatch, match=said):
            await prepare(engine.database)
        with pytest.raises(StoreMismatch, match=said):  # whatever this host has kept: waiting for it mends nothing
            await engine.open()


def test_every_script_from_the_second_on_says_for_whom_it_is_and_no_later_one_is_for_older_ones() -> None:
    scripts = SERIES.scripts()
    oldest = [oldest_for(number, script) for number, script in scripts.items()]
    assert oldest == sorted(oldest)
    assert all(script.startswith("-- For programs that know ") for number, script in scripts.items() if number > 1)


async def test_what_a_database_is_for_is_what_the_strictest_of_its_scripts_says(postgres: Server) -> None:
    database = postgres.database()
    engine = PostgresEngine(database, postgres.folder)
    with knowing(1):
        await prepare(database)
    assert engine.run("SELECT * FROM schema_version") == [(1,)]
    with knowing(1, 2):
        await prepare(database)
    assert rule(engine) == (2, 1)
    with knowing(1, 2, _3="CREATE TABLE three (x integer)"):
        await prepare(database)
    assert rule(engine) == (3, 3)
    with knowing(1, 2, _3="", _4=ADDS):
        await prepare(database)
    assert rule(engine) == (4, 3)
    with knowing(1, 2), pytest.raises(StoreMismatch, match="4, for programs that know 3 or later; known: 2"):
        await prepare(database)
    with knowing(1, 2, _3=""):
        await prepare(database)
    assert rule(engine) == (4, 3)


@pytest.mark.parametrize("newest", [2, 3])
async def test_a_program_that_knows_schema_1_works_on_when_another_host_has_brought_it_up(
    postgres: Server, tmp_path: Path, newest: int
) -> None:
    engine = PostgresEngine(postgres.database(), tmp_path / "old.db")
    with knowing(1):
        async with writing(engine) as service:
            before = await service.create(ANN, "before", **BY)
            with knowing(*range(1, newest + 1)):
                await (await PostgresStore.open(engine.database, tmp_path / "new.db")).close()
            assert rule(engine) == (newest, 1)
            await service.edit(ANN, "before", scopes=["A"], **BY)  # it has it open
        async with writing(engine) as service:  # and opens it again
            made = await service.create(ANN, "made", **BY)
            await service.edit(ANN, "made", scopes=["A"], **BY)
            await service.change(ANN, "made", **BY)
            await service.delete(ANN, "before", **BY)
            store = service._store
            assert isinstance(store, PostgresStore)
            await store.record_uses([(made.key.id, 5.0, "192.0.2.1", "")])
            assert [key.name for key in await service.list(ANN)] == ["made"]
        follower = engine.follower(Keyring(), lambda: 1000.0, lambda: 1000.0)
        follower.load()
        assert not admits(follower, before.secret)
        follower.close()
        engine.run("UPDATE schema_version SET oldest = version")
        with pytest.raises(StoreMismatch, match=f"schema {newest}; known: 1"):
            await engine.open()
    await (await engine.open()).close()


async def test_what_is_not_for_a_host_that_runs_is_not_done_until_it_is_upgraded_or_has_gone(
    engine: PostgresEngine,
) -> None:
    said = "INSERT INTO hosts SELECT ?, ?, 'r', '0.1.0', 'source', ?, 1, '', 'host', 'ok', '', 0, {} - ?"
    said = said.format("extract(epoch FROM clock_timestamp())")
    for name, knows, ago in (("b", 1, 5), ("a", 1, 0), ("up", 2, 0), ("gone", 1, HEARD + 5)):
        engine.run(said, (f"id-{name}", name, knows, ago))
    with knowing(1, 2, 3, _4=BREAKS):
        why = r"schema 4 is not for hosts that run: a \(knows 1\), b \(knows 1\); upgrade or stop them first, "
        why += "or wait for 60 s where one was killed"
        with pytest.raises(StoreMismatch, match=why):
            await prepare(engine.database)
        assert rule(engine) == (3, 1)
        engine.run("UPDATE hosts SET knows = 2 WHERE name IN ('a', 'b')")
        await prepare(engine.database)
        assert rule(engine) == (4, 2)


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


async def test_who_may_use_a_database_but_not_bring_it_up_is_told_at_the_start(postgres: Server) -> None:
    """Else it would start with the keys that it knows, and refuse all of them after ``trust_without_store``."""
    database = postgres.database()
    name = dict(database.options)["dbname"]
    with knowing(1):
        await prepare(database)
    postgres.run(f"CREATE ROLE user_{name} LOGIN; GRANT ALL ON SCHEMA keystile TO user_{name}", name)
    postgres.run(f"GRANT ALL ON ALL TABLES IN SCHEMA keystile TO user_{name}", name)
    user = type(database)(tuple({**dict(database.options), "user": f"user_{name}"}.items()))
    why = f"1 must be brought to {SERIES.newest}, which this user may not do: must be owner of table schema_version"
    with pytest.raises(StoreMismatch, match=why):
        await prepare(user)
    await prepare(database)
    postgres.run(f"GRANT ALL ON ALL TABLES IN SCHEMA keystile TO user_{name}", name)
    await prepare(user)  # once its owner has done it


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
