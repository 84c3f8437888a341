from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from keystile.keys.keyring import Keyring
from keystile.storage.errors import StoreMismatch, StoreUnreadable
from keystile.storage.postgresql.hosts import FORGOTTEN, HostTable, all_hosts
from keystile.storage.postgresql.migrate import SERIES
from keystile.storage.postgresql.store import PostgresStore
from tests.relay.running import until
from tests.storage.engines import PostgresEngine
from tests.storage.postgres_server import Server
from tests.storage.test_hosts import ONE


@pytest.fixture
async def store(engine: PostgresEngine) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(engine.database, engine.path) as opened:
        yield opened


@pytest.fixture
async def table(store: PostgresStore) -> AsyncIterator[HostTable]:
    made = HostTable(store)
    yield made
    await made.close()


async def test_what_a_host_says_is_known_to_all(table: HostTable, engine: PostgresEngine) -> None:
    says = replace(ONE, health="degraded", troubles=("upstreams: a\nb is not well", "clock: late"))
    assert await table.say(says, anew=True)
    (known,) = await table.all()
    assert known.says == replace(says, troubles=("upstreams: a b is not well", "clock: late"), up=known.says.up)
    assert known.knows == SERIES.newest
    assert known.says.up == pytest.approx(ONE.up, abs=1.0)
    assert known.silent < 5
    assert abs(known.heard - time.time()) < 60  # one machine: one clock
    (looked,) = await all_hosts(engine.database)
    assert looked.says.id == ONE.id


async def test_since_when_it_runs_stays_until_it_is_started_again(table: HostTable) -> None:
    await table.say(ONE, anew=True)
    (first,) = await table.all()
    await table.say(replace(ONE, up=5.0, configuration=4, name="renamed"), anew=False)
    (again,) = await table.all()
    assert (again.since, again.says.configuration, again.says.name) == (first.since, 4, "renamed")
    assert again.heard > first.heard
    await table.say(replace(ONE, run="r2", up=5.0), anew=True)
    (started,) = await table.all()
    assert started.since > first.since


async def test_of_two_with_the_same_id_the_one_that_was_there_hears_of_it(table: HostTable) -> None:
    """A folder that was copied with the id in it."""
    copied = replace(ONE, run="r2", name="copy")
    assert await table.say(ONE, anew=True)
    assert await table.say(copied, anew=True)
    assert not await table.say(ONE, anew=False)
    assert await table.say(copied, anew=False)
    assert [known.says.name for known in await table.all()] == ["copy"]


async def test_a_host_that_leaves_takes_its_own_row_away_and_no_others(table: HostTable) -> None:
    two = replace(ONE, id="2" * 16, name="two")
    for says in (ONE, two):
        await table.say(says, anew=True)
    await table.leave(ONE.id, "another run")
    assert len(await table.all()) == 2
    await table.leave(ONE.id, ONE.run)
    assert [known.says.name for known in await table.all()] == ["two"]


async def test_who_was_not_heard_of_for_a_day_is_forgotten(table: HostTable, engine: PostgresEngine) -> None:
    for number, ago in enumerate((FORGOTTEN - 60, FORGOTTEN + 60)):
        await table.say(replace(ONE, id=str(number)), anew=True)
        engine.run("UPDATE hosts SET heard = heard - ? WHERE id = ?", (ago, str(number)))
    await table.say(ONE, anew=True)
    assert [known.says.id for known in await table.all()] == ["0", ONE.id]


async def test_the_key_of_prints_is_the_databases_own_and_stays(table: HostTable, postgres: Server) -> None:
    key = await table.print_key()
    assert len(key) == 32
    assert await table.print_key() == key
    other = PostgresEngine(postgres.database(), postgres.folder / "other-mirror.db")
    async with await other.open():
        assert other.run("SELECT value FROM meta WHERE name = 'print_key'") != [(key.hex(),)]


async def test_no_change_of_keys_and_no_note_of_uses_holds_it_up(table: HostTable, store: PostgresStore) -> None:
    await store._uses.begin()
    assert await table.say(ONE, anew=True)
    await store._uses.roll_back()
    async with store.change():
        assert await table.say(ONE, anew=False)
        assert await table.all()


async def test_a_host_whose_program_the_store_is_no_longer_for_hears_of_it_and_stops_to_trust(
    table: HostTable, store: PostgresStore, engine: PostgresEngine
) -> None:
    """It was cut off while the others went on without it; nothing else would tell it but a start."""
    await store.take_in()
    engine.run("UPDATE schema_version SET version = 99, oldest = 99")
    await store.take_in()
    await table.say(ONE, anew=True)
    with pytest.raises(StoreMismatch, match="schema 99"):
        await store.take_in()
    follower = engine.follower(Keyring(), time.time, time.monotonic)
    follower.load()  # what it knew it goes on with, for as long as it is trusted
    follower.close()


async def test_the_end_waits_for_no_answer(table: HostTable) -> None:
    """A database that stands still while a host speaks would hold up the end, or an upgrade, for as long."""
    await table.all()
    waiting = asyncio.create_task(table._connection.ask("SELECT pg_sleep(9)"))
    await until(lambda: table._connection._tasks != set())
    await table.close()
    with pytest.raises(StoreUnreadable):
        await waiting


async def test_before_the_table_is_there_it_is_an_error_with_a_name(table: HostTable, engine: PostgresEngine) -> None:
    engine.run("DROP TABLE hosts")
    with pytest.raises(StoreUnreadable):
        await table.say(ONE, anew=True)
