from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from keystile.keys.service import KeyService
from keystile.storage import rows
from keystile.storage.connection import Connection
from keystile.storage.doorbell import Doorbell, doorbell_of
from keystile.storage.errors import StoreBusy, StoreUnreadable
from keystile.storage.migrate import STORE
from keystile.storage.passwords import Passwords, passwords_of
from keystile.storage.sqlite import SqliteStore
from tests.storage.ground import ANN, BY, Clock, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keystile.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with await SqliteStore.open(path) as store:
        yield store


@pytest.fixture
async def service(store: SqliteStore) -> KeyService:
    service = KeyService(store, Clock())
    await service.create_account(ANN, **BY)
    return service


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_every_file_of_a_store_is_for_its_owner_alone(service: KeyService, tmp_path: Path) -> None:
    assert modes(tmp_path) == {0o600}


async def test_a_store_in_a_missing_directory_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable, match="does not exist"):
        await SqliteStore.open(tmp_path / "missing" / "keystile.db")


async def test_a_store_with_strange_characters_in_its_path_opens(tmp_path: Path) -> None:
    folder = tmp_path / "50% of ?mode=ro#é"
    os.mkdir(folder)
    async with writing(folder / "a b.db") as service:
        await service.create(ANN, "main", **BY)
    assert sorted(os.listdir(folder)) == ["a b.db", "a b.db.doorbell"]


async def test_changes_are_on_disk_before_they_are_answered(service: KeyService, store: SqliteStore) -> None:
    async with store.change():
        assert await store._changes.ask("PRAGMA synchronous") == [(2,)]
    assert await store._uses.ask("PRAGMA synchronous") == [(1,)]
    assert await store._uses.ask("PRAGMA journal_mode") == [("wal",)]


async def test_a_writer_goes_over_to_a_store_put_in_the_place_of_its_own(service: KeyService, path: Path) -> None:
    await service.create(ANN, "main", **BY)
    spare = path.with_name("spare.db")
    async with writing(spare) as other:
        await other.create(ANN, "spare", **BY)
    for name in ("keystile.db-wal", "keystile.db-shm"):
        os.unlink(path.with_name(name))
    os.replace(spare, path)
    assert [key.name for key in await service.list()] == ["spare"]
    await service.create(ANN, "new", **BY)
    async with writing(path) as again:
        assert [key.name for key in await again.list()] == ["new", "spare"]


async def test_a_store_that_was_taken_away_is_unreadable_and_comes_back(service: KeyService, path: Path) -> None:
    away = path.with_name("away")
    os.replace(path, away)
    with pytest.raises(StoreUnreadable, match="No such file"):
        await service.list()
    with pytest.raises(StoreUnreadable, match="No such file"):
        await service.create(ANN, "main", **BY)
    assert path.name not in os.listdir(path.parent)
    os.replace(away, path)
    await service.create(ANN, "main", **BY)


async def test_a_copy_that_is_not_in_wal_is_brought_back_to_it(path: Path) -> None:
    async with writing(path) as service:
        await service.create(ANN, "main", **BY)
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    async with await SqliteStore.open(copy) as store:
        assert await store._reads.ask("PRAGMA journal_mode") == [("wal",)]
        assert len(await store.keys()) == 1


async def test_opening_rings_when_it_has_made_the_store(path: Path) -> None:
    bell = Doorbell(path)
    before = bell.count()
    async with writing(path):
        pass
    assert bell.count() != before
    assert doorbell_of(path).name in os.listdir(path.parent)
    bell.close()


async def test_a_change_rings_in_a_store_that_was_set_back_to_an_older_copy(
    service: KeyService, store: SqliteStore, path: Path
) -> None:
    """There the log may come to a number that has been rung before, for something else."""
    await service.create(ANN, "main", **BY)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(path.with_name("copy.db")),))
    await service.create(ANN, "lost", **BY)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink()
    os.replace(path.with_name("copy.db"), path)
    before = store._bell.count()
    await service.edit(ANN, "main", scopes=["A"], **BY)
    assert store._bell.count() != before


async def test_the_newest_events_of_an_account_are_found_by_an_index(store: SqliteStore) -> None:
    """An account's page must not read everybody's history."""
    plan = await store._reads.ask(f"EXPLAIN QUERY PLAN {rows.EVENTS_OF_ACCOUNT}", (9, 9, ANN))
    assert [row[3] for row in plan] == ["SEARCH audit USING INDEX audit_of_account (account=? AND rowid<?)"]


async def test_the_digests_of_a_key_that_is_deleted_are_found_by_an_index(store: SqliteStore) -> None:
    """Those of 100,000 keys took 35 ms to read."""
    plan = await store._reads.ask("EXPLAIN QUERY PLAN DELETE FROM digests WHERE key_id = ?", ("k",))
    assert plan[0][3] == "SEARCH digests USING COVERING INDEX digests_of (key_id=?)"


async def test_keys_are_counted_without_reading_them(store: SqliteStore) -> None:
    plan = await store._reads.ask("EXPLAIN QUERY PLAN SELECT count(*) FROM keys")
    assert "COVERING INDEX" in plan[0][3]


async def test_a_store_that_is_gone_is_not_made_anew_while_its_passwords_are_there(path: Path) -> None:
    """Empty it would refuse every key; who wants that takes the passwords away too."""
    async with await SqliteStore.open(path):
        await (await Passwords.open(path)).close()
    os.unlink(path)
    with pytest.raises(StoreUnreadable, match="it is gone, but the passwords beside it are there; put it back"):
        await SqliteStore.open(path)
    assert path.name not in os.listdir(path.parent)
    os.unlink(passwords_of(path))
    await (await SqliteStore.open(path)).close()


async def test_a_commit_that_fails_leaves_nothing_and_does_not_ring(
    service: KeyService, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.create(ANN, "main", **BY)
    before, kept = store._bell.count(), await service.list()

    async def fail() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        assert isinstance(store._changes, Connection)
        patched.setattr(store._changes._opened(), "commit", fail)
        with pytest.raises(StoreUnreadable, match="disk is full"):
            await service.delete(ANN, "main", **BY)
    assert (store._bell.count(), await service.list()) == (before, kept)
    await service.delete(ANN, "main", **BY)
    assert store._bell.count() != before


async def test_a_commit_that_happened_all_the_same_rings(
    service: KeyService, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the power of the disk goes after the last page: a ring too many costs a look, one too few a key."""
    await service.create(ANN, "main", **BY)
    assert isinstance(store._changes, Connection)
    before, connection = store._bell.count(), store._changes._opened()
    commit = connection.commit

    async def fail() -> None:
        await commit()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(connection, "commit", fail)
    with pytest.raises(StoreUnreadable):
        await service.delete(ANN, "main", **BY)
    assert await service.list() == ()
    assert store._bell.count() != before


async def test_a_full_disk_fails_each_change_whole_and_is_over_when_there_is_room(
    service: KeyService, store: SqliteStore
) -> None:
    await service.create(ANN, "main", **BY)
    scopes = [f"{'S' * 60}{number}" for number in range(100)]  # more than is left of any page
    before = store._bell.count()
    for name in ("one", "two"):  # each on a connection of its own: after a fault the file is opened anew
        await store._changes.renew()
        [(pages,)] = await store._changes.ask("PRAGMA page_count")
        await store._changes.ask(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreUnreadable) as failed:
            await service.create(ANN, name, scopes=scopes, **BY)
        assert failed.value.why == "database or disk is full"
    assert (len(await service.list()), store._bell.count()) == (1, before)
    await service.create(ANN, "three", scopes=scopes, **BY)
    assert [each.name for each in await service.list()] == ["main", "three"]


async def test_a_store_that_another_program_keeps_locked_fails_every_change_within_a_bound(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait: they wait for their turn no longer than for another process."""
    monkeypatch.setattr("keystile.storage.connection.BUSY_TIMEOUT", 0.2)
    async with writing(path):
        pass
    async with await SqliteStore.open(path, lock_timeout=0.3) as store:
        service = KeyService(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            faults = await asyncio.gather(
                *(service.create(ANN, f"k{n}", **BY) for n in range(20)), return_exceptions=True
            )
            assert {type(fault) for fault in faults} == {StoreBusy}
            said = {fault.why for fault in faults if isinstance(fault, StoreBusy)}
            assert said == {
                "another program has kept it locked for too long", "too many changes wait for those before them"
            }  # fmt: skip
            assert await service.list() == ()  # who reads goes on
        await service.create(ANN, "main", **BY)


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {STORE.application_id}")
        connection.execute("PRAGMA user_version = 99")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "file is not a database": lambda path: path.write_bytes(b"this is not a database, whatever its name" * 100),
    "it is of a newer Keystile: schema 99": _newer,
    "this is a database of something else": _foreign,
    "it is gone, but the passwords beside it are there": lambda path: passwords_of(path).write_bytes(b""),
    "Is a directory": lambda path: path.mkdir(),
    "its directory does not exist": lambda path: path.parent.rmdir(),
    "Too many levels of symbolic links": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("why", UNREADABLE)
async def test_a_store_that_cannot_be_read_is_not_opened_and_is_named_with_the_reason(tmp_path: Path, why: str) -> None:
    path = tmp_path / "store" / "keystile.db"
    path.parent.mkdir()
    UNREADABLE[why](path)
    with pytest.raises(StoreUnreadable) as failed:
        await SqliteStore.open(path)
    assert str(failed.value).startswith(f"the store {path}: {why}")
    assert str(path) not in failed.value.why
