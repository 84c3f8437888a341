from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.keyring import Keyring
from keystile.keys.service import KeyService
from keystile.storage.access import ManagementToken, Session
from keystile.storage.attempts import Attempts, AttemptStore, Rows
from keystile.storage.errors import StoreUnreadable
from keystile.storage.mirrored import MirrorFollower
from keystile.storage.postgresql.connection import USES, Connection
from keystile.storage.postgresql.store import PostgresStore
from keystile.storage.sqlite import SqliteStore
from tests.storage.engines import PostgresEngine
from tests.storage.ground import ANN, BY, Clock, admits, writing
from tests.storage.postgres_server import Server


async def two_hosts(engine: PostgresEngine, tmp_path: Path) -> tuple[PostgresStore, PostgresStore]:
    (tmp_path / "two").mkdir()
    first = await PostgresStore.open(engine.database, engine.path)
    return first, await PostgresStore.open(engine.database, tmp_path / "two" / "mirror.db")


async def test_fifteen_keys_are_exact_over_two_hosts(engine: PostgresEngine, tmp_path: Path) -> None:
    stores = await two_hosts(engine, tmp_path)
    services = [KeyService(store, Clock()) for store in stores]
    await services[0].create_account(ANN, **BY)
    asked = [services[number % 2].create(ANN, f"k{number}", **BY) for number in range(40)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, KeyRuleBroken)]
    assert {answer.code for answer in refused} == {"too_many_keys"}
    assert len(refused) == 25
    assert engine.run("SELECT count(*) FROM keys") == [(15,)]
    for store in stores:
        await store.close()


async def test_what_one_host_has_answered_the_other_takes_in_when_it_looks(
    engine: PostgresEngine, tmp_path: Path
) -> None:
    one, two = await two_hosts(engine, tmp_path)
    service = KeyService(one, Clock())
    await service.create_account(ANN, **BY)
    follower = MirrorFollower(two.path, Keyring())
    follower.load()
    created = await service.create(ANN, "main", **BY)
    assert not admits(follower, created.secret)
    assert not (await two.take_in()).is_empty
    assert admits(follower, created.secret)
    await service.delete(ANN, "main", **BY)
    assert admits(follower, created.secret)
    await two.take_in()
    assert not admits(follower, created.secret)
    follower.close()
    for store in (one, two):
        await store.close()


async def test_changes_are_on_disk_before_they_are_answered(postgres: Server, tmp_path: Path) -> None:
    engine = PostgresEngine(postgres.database(), tmp_path / "keystile-mirror.db")
    name = dict(engine.database.options)["dbname"]
    engine.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with await engine.open() as store:
        async with store.change():
            assert await store._changes.ask("SHOW synchronous_commit") == [("on",)]
        assert await store._uses.ask("SHOW synchronous_commit") == [("off",)]


async def test_a_database_that_is_away_is_said_so_and_is_no_reason_not_to_start_again(
    own: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = PostgresEngine(own.database(), tmp_path / "keystile-mirror.db")
    async with writing(engine) as service:
        secret = (await service.create(ANN, "main", **BY)).secret
    own.stop()
    with caplog.at_level(logging.WARNING):
        store = await engine.open()
    assert "this host goes on with the keys that it knows" in caplog.text
    follower = MirrorFollower(engine.path, Keyring())
    follower.load()
    assert admits(follower, secret)
    for failing in (store.account(ANN), KeyService(store).create(ANN, "other", **BY), store.record_uses([])):
        with pytest.raises(StoreUnreadable) as caught:
            await failing
        assert caught.value.why == "the database cannot be reached"
    with pytest.raises(StoreUnreadable):
        await PostgresStore.open(engine.database, tmp_path / "another.db")
    own.start()
    assert await store.account(ANN)
    await KeyService(store).delete(ANN, "main", **BY)
    assert not admits(follower, secret)
    follower.close()
    await store.close()


async def test_a_host_that_dies_in_a_change_keeps_nobody_waiting(engine: PostgresEngine) -> None:
    async with writing(engine) as service, await PostgresStore.open(engine.database, engine.path) as dying:
        key = (await service.create(ANN, "main", **BY)).key

        async def die() -> None:
            async with dying.change() as tx:
                await tx.remove_key(key.id)
                assert isinstance(dying._changes, Connection)
                dying._changes.cut()
                await service.edit(ANN, "main", scopes=["A"], **BY)

        with pytest.raises(StoreUnreadable):
            await die()
        assert (await service.find_by_name(ANN, "main")).scopes == {"A"}
        await KeyService(dying, Clock()).edit(ANN, "main", scopes=["B"], **BY)  # and it is back


async def test_uses_of_a_key_that_another_host_deletes_are_dropped_and_hold_up_nobody(engine: PostgresEngine) -> None:
    """Locks of rows taken in another order would be a deadlock, of which either could be the victim."""
    async with writing(engine) as service, await engine.open() as other:
        keys = [(await service.create(ANN, f"k{number}", **BY)).key.id for number in range(10)]
        uses = [(key, 5.0, "192.0.2.1", "") for key in keys]
        for backwards in (uses, uses[::-1]):
            await asyncio.gather(
                *(other.record_uses(backwards) for _ in range(20)),
                *(service.edit(ANN, f"k{number}", scopes=[f"S{id(backwards)}"], **BY) for number in range(10)),
            )
        await asyncio.gather(
            *(other.record_uses(uses[::-1]) for _ in range(20)), service.delete_account(ANN, **BY)
        )
    assert engine.run("SELECT count(*) FROM last_uses") == [(0,)]


async def test_the_digests_of_a_key_that_is_deleted_are_found_by_an_index(engine: PostgresEngine) -> None:
    """As the cascade of the foreign key looks for them; those of 100,000 keys took 15 to 27 ms to read."""
    async with await engine.open() as store:
        await store._reads.ask("SET enable_seqscan = off")  # of none it would be the better way
        plan = await store._reads.ask("EXPLAIN (COSTS OFF) DELETE FROM ONLY digests WHERE 'k' = key_id")
        assert any("digests_of" in line for (line,) in plan)


async def test_a_delete_waits_for_no_more_than_the_batch_that_is_written(engine: PostgresEngine) -> None:
    async with writing(engine) as service:
        await service.create(ANN, "main", **BY)
        noting = Connection(engine.database, lock=USES)
        await noting.begin()
        deleting = asyncio.create_task(service.delete(ANN, "main", **BY))
        name = dict(engine.database.options)["dbname"]
        waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '{name}'"
        async with asyncio.timeout(30):
            while engine.run(waiting) == [(0,)]:  # noqa: ASYNC110 - nothing tells us but the server
                await asyncio.sleep(0.01)
        assert not deleting.done()
        await noting.commit()
        await deleting
        await noting.close()


@pytest.mark.parametrize("content", [None, b"", b"damaged" * 1000])
async def test_a_mirror_that_is_gone_or_damaged_is_made_anew_and_no_key_is_refused_meanwhile(
    engine: PostgresEngine, content: bytes | None
) -> None:
    async with writing(engine) as service:
        created = await service.create(ANN, "main", **BY)
        follower = MirrorFollower(engine.path, Keyring())
        follower.load()
        for ending in ("", "-wal", "-shm"):
            engine.path.with_name(engine.path.name + ending).unlink(missing_ok=True)
        if content is not None:
            engine.path.write_bytes(content)
        follower.check()
        assert admits(follower, created.secret, 5e9)
        assert isinstance(service._store, PostgresStore)
        await service._store.take_in()
        follower.check()
        assert admits(follower, created.secret, 5e9)
        await service.delete(ANN, "main", **BY)
        assert not admits(follower, created.secret, 5e9)
        follower.close()


async def test_what_does_not_fit_is_read_again_whole(
    engine: PostgresEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has written the host's own file."""
    async with writing(engine) as service:
        stays = (await service.create(ANN, "main", **BY)).secret
        with closing(sqlite3.connect(engine.path)) as connection:
            connection.execute("UPDATE keys SET name = 'other'")
            connection.commit()
        follower = MirrorFollower(engine.path, Keyring())
        follower.load()
        other = (await service.create(ANN, "other", **BY)).secret
        assert "all of it is read again" in caplog.text
        assert [admits(follower, secret, 5e9) for secret in (stays, other)] == [True, True]
        await engine.examine()
        follower.close()


async def test_what_a_host_keeps_is_never_taken_for_a_store(engine: PostgresEngine) -> None:
    async with writing(engine):
        pass
    with pytest.raises(StoreUnreadable, match="it is no store, but what a host keeps of one in a database"):
        await SqliteStore.open(engine.path)


async def test_who_has_signed_in_on_one_host_has_on_the_other_and_attempts_are_counted_once(
    engine: PostgresEngine,
) -> None:
    one, two = await engine.access(), await engine.access()
    passwords = await engine.passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1), Clock())
    await passwords.set_password("a", "correct horse")
    session = Session("s", "a", 1.0, 2.0, "192.0.2.1", "Browser")
    assert await one.add_session(session, b"s" * 32, 1, 5)
    assert await two.session(b"s" * 32) == session

    def more(found: Rows) -> Rows:
        return tuple(Attempts(max(each.empty, 5000.0) + 1, 0.0) for each in found)

    stores = [AttemptStore(rows.file) for rows in (one, two)]
    await asyncio.gather(*(stores[number % 2].step((b"n" * 32,), more, 1000.0) for number in range(30)))
    assert (await stores[0].step((b"n" * 32,), lambda _: None, 1000.0))[0] == (Attempts(5030.0, 0.0),)
    token = ManagementToken("t", "a", "nightly", "abcde", 1.0, None)
    tokens = [replace(token, id=f"t{number}") for number in range(10)]
    kept = await asyncio.gather(
        *((one, two)[number % 2].add_token(each, bytes([number]) * 32, 5) for number, each in enumerate(tokens))
    )
    assert sum(kept) == 5
    await passwords.set_password("a", "another horse")  # which signs out everywhere
    assert await two.session(b"s" * 32) is None
    for each in (one, two, passwords):
        await each.close()


async def test_a_session_of_the_password_before_never_outlives_a_new_one(engine: PostgresEngine) -> None:
    """Both at the same moment on two hosts: whichever is first, nobody is in by the old password."""
    rows = await engine.access()
    passwords = await engine.passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1), Clock())
    await passwords.set_password("a", "correct horse")
    for number in range(1, 20):
        session = Session(f"s{number}", "a", 1.0, 2.0, "192.0.2.1", "Browser")
        await asyncio.gather(
            rows.add_session(session, bytes([number]) * 32, number, 5),
            passwords.set_password("a", f"correct horse {number}"),
        )
        assert await rows.session(bytes([number]) * 32) is None
    await rows.close()
    await passwords.close()


async def test_a_database_that_was_set_back_is_taken_in_whole(engine: PostgresEngine) -> None:
    """As after a restore, or a failover that lost the last changes: what the host knows beyond it is forgotten."""
    async with writing(engine) as service:
        lost = (await service.create(ANN, "lost", **BY)).secret
        follower = MirrorFollower(engine.path, Keyring())
        follower.load()
        assert admits(follower, lost)
        engine.run("DELETE FROM keys")
        engine.run("DELETE FROM changes WHERE seq > 1")
        await service.create(ANN, "new", **BY)
        assert not admits(follower, lost)
        follower.close()
