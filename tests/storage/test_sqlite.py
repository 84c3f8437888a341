from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from keystile.keys.audit import What
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account
from keystile.keys.secret import digest, mark
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.keys.store import OldTlsUse, Recent
from keystile.storage import rows
from keystile.storage.doorbell import Doorbell, doorbell_of
from keystile.storage.errors import StoreBusy, StoreUnreadable
from keystile.storage.migrate import STORE
from keystile.storage.passwords import Passwords, passwords_of
from keystile.storage.sqlite import SqliteStore
from tests.storage.ground import ANN, BY, Clock, run_writer, start_writer, writing


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


async def test_what_was_kept_is_there_when_the_store_is_opened_again(path: Path) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", ["A", "B"], ["10.0.0.0/8", "2001:db8::1"], 2000.5, **BY)
    async with writing(path) as service:
        assert await service.list() == (created.key,)


async def test_a_store_in_a_missing_directory_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable, match="does not exist"):
        await SqliteStore.open(tmp_path / "missing" / "keystile.db")


async def test_a_store_with_strange_characters_in_its_path_opens(tmp_path: Path) -> None:
    folder = tmp_path / "50% of ?mode=ro#é"
    os.mkdir(folder)
    async with writing(folder / "a b.db") as service:
        await service.create(ANN, "main", **BY)
    assert sorted(os.listdir(folder)) == ["a b.db", "a b.db.doorbell"]


async def test_fifteen_keys_are_exact_with_many_processes(path: Path) -> None:
    async with writing(path):
        pass
    writers = [start_writer(path, "create", f"w{number}-", "8") for number in range(5)]
    made = [int(writer.communicate(timeout=90)[0]) for writer in writers]
    assert sum(made) == 15
    async with writing(path) as service:
        assert len(await service.list(ANN)) == 15


async def test_many_processes_may_make_the_store_at_once(path: Path) -> None:
    async def make() -> str:
        async with await SqliteStore.open(path) as store:
            return (await store._reads.ask("SELECT value FROM meta"))[0][0]  # type: ignore[no-any-return]

    assert len(set(await asyncio.gather(*(make() for _ in range(8))))) == 1


async def test_a_block_that_raises_leaves_nothing_and_does_not_ring(service: KeyService, store: SqliteStore) -> None:
    before = store._bell.count()

    async def half() -> None:
        async with store.change() as tx:
            await tx.add_account(Account("b", "bob@x.org", False, 0.0))
            assert await tx.account("bob@x.org")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await half()
    assert await store.account("bob@x.org") is None
    assert store._bell.count() == before


async def test_what_is_not_committed_is_not_seen(service: KeyService, store: SqliteStore) -> None:
    async with store.change() as tx:
        await tx.add_account(Account("b", "bob@x.org", False, 0.0))
        assert await store.account("bob@x.org") is None
    assert await store.account("bob@x.org")


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_cancelled_change_is_done_and_rung_or_not_done(
    service: KeyService, store: SqliteStore, turns: int
) -> None:
    """Wherever the cancellation falls: what is committed has rung, and the next change finds the way free."""
    before = store._bell.count()
    task = asyncio.create_task(service.create(ANN, "main", **BY))
    for _ in range(turns):
        await asyncio.sleep(0.0002)
    task.cancel()
    await asyncio.wait([task])
    assert bool(await service.list()) == (store._bell.count() != before)
    await service.create(ANN, "other", **BY)


async def test_another_process_that_keeps_the_lock_makes_the_store_busy(path: Path) -> None:
    async with writing(path):
        pass
    other = Doorbell(path)
    async with await SqliteStore.open(path, lock_timeout=0.05) as store:
        service = KeyService(store)
        with other.locked():
            with pytest.raises(StoreBusy):
                await service.create(ANN, "main", **BY)
            assert await service.list() == ()
        await service.create(ANN, "main", **BY)
    other.close()


async def test_changes_are_on_disk_before_they_are_answered(service: KeyService, store: SqliteStore) -> None:
    async with store.change():
        assert await store._changes.ask("PRAGMA synchronous") == [(2,)]
    assert await store._uses.ask("PRAGMA synchronous") == [(1,)]
    assert await store._uses.ask("PRAGMA journal_mode") == [("wal",)]


async def test_last_uses_are_kept_never_go_back_and_never_ring(service: KeyService, store: SqliteStore) -> None:
    key = (await service.create(ANN, "main", **BY)).key
    rung = store._bell.count()
    uses = [(key.id, 50.0, "192.0.2.1", ""), (key.id, 60.0, "192.0.2.2", ""), ("gone", 1.0, "192.0.2.3", "ff" * 16)]
    await store.record_uses(uses)
    await store.record_uses([(key.id, 55.0, "192.0.2.4", "")])
    found = await service.find_by_name(ANN, "main")
    assert (found.last_used_at, found.last_used_from, found.version) == (60.0, "192.0.2.2", 1)
    assert store._bell.count() == rung
    await service.delete(ANN, "main", **BY)
    assert await store._reads.ask("SELECT * FROM last_uses") == []


async def test_each_secret_of_an_overlap_has_a_last_use_of_its_own(service: KeyService, store: SqliteStore) -> None:
    first = await service.create(ANN, "main", **BY)
    key, old = first.key, mark(digest(first.secret.encode()))
    await store.record_uses([(key.id, 50.0, "192.0.2.1", old)])
    assert (await service.find_by_name(ANN, "main")).old_last_used_at is None  # it is the current one
    second = await service.change(ANN, "main", 60.0, **BY)
    assert (second.key.old_last_used_at, second.key.old_last_used_from) == (50.0, "192.0.2.1")
    new = mark(digest(second.secret.encode()))
    await store.record_uses([(key.id, 60.0, "192.0.2.2", new), (key.id, 55.0, "192.0.2.3", old)])
    await store.record_uses([(key.id, 52.0, "192.0.2.4", old)])  # of a slower relay: older
    found = await service.find_by_name(ANN, "main")
    assert (found.last_used_at, found.last_used_from) == (60.0, "192.0.2.2")
    assert (found.old_last_used_at, found.old_last_used_from) == (55.0, "192.0.2.3")
    # Changed again: the old one is the one before, and what is told late of the first is nobody's.
    third = await service.change(ANN, "main", 60.0, **BY)
    await store.record_uses([(key.id, 70.0, "192.0.2.5", old)])
    found = await service.find_by_name(ANN, "main")
    assert (third.key.old_last_used_at, found.old_last_used_at, found.last_used_at) == (60.0, 60.0, 70.0)


async def test_uses_and_changes_at_once_do_not_disturb_each_other(service: KeyService, store: SqliteStore) -> None:
    key = (await service.create(ANN, "main", **BY)).key

    async def use() -> None:
        for number in range(20):
            await store.record_uses([(key.id, float(number), "192.0.2.1", "")])

    async def edit() -> None:
        for number in range(20):
            await service.edit(ANN, "main", scopes=[f"S{number}"], **BY)

    await asyncio.gather(use(), use(), edit())
    found = await service.find_by_name(ANN, "main")
    assert (found.last_used_at, found.version) == (19.0, 21)


async def test_the_audit_table_is_append_only(service: KeyService, path: Path) -> None:
    def alter(sql: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(sql)

    row = "(seq, at, actor, origin, what, account, details) VALUES (1, 0, '', '', 'key.created', '', '')"
    for sql in (
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        f"INSERT OR REPLACE INTO audit {row}",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            alter(sql)
    assert len(await service.events()) == 1


async def test_a_change_log_row_tells_of_every_way_a_key_can_change(service: KeyService, store: SqliteStore) -> None:
    async def told() -> list[tuple[str, str]]:
        rows = await store._reads.ask("SELECT key_id, kind FROM changes WHERE seq > ? ORDER BY seq", (place[0],))
        place[0] += len(rows)
        return list(dict.fromkeys((row[0], row[1]) for row in rows))

    place = [1]
    key = (await service.create(ANN, "main", **BY)).key.id
    assert await told() == [(key, "put")]
    await service.edit(ANN, "main", scopes=["A"], **BY)
    assert await told() == [(key, "put")]
    await service.change(ANN, "main", 60, **BY)
    assert await told() == [(key, "put")]
    await service.change(ANN, "main", **BY)
    assert await told() == [(key, "put")]
    await service.delete(ANN, "main", **BY)
    assert await told() == [(key, "revoke")]
    other = (await service.import_key(ANN, "old", "ab" * 32, "12345", **BY)).key.id
    await service.delete_account(ANN, **BY)
    assert await told() == [(other, "put"), (other, "revoke")]


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


async def test_only_what_concerns_keys_rings(service: KeyService, store: SqliteStore) -> None:
    """Each ring has every relay look into the store: signing in and SMTP credentials are no reason."""
    smtp = SmtpService(store)
    await service.create(ANN, "main", **BY)

    async def rings(work: Awaitable[object]) -> bool:
        before = store._bell.count()
        await work
        return store._bell.count() != before

    quiet = [
        service.note(What.PASSWORD_SET, ANN, **BY),
        service.create_account("bob@x.org", **BY),
        smtp.create(ANN, "m@x.org", **BY),
        smtp.edit(ANN, "m@x.org", networks=["::1"], **BY),
        smtp.change(ANN, "m@x.org", **BY),
        smtp.delete(ANN, "m@x.org", **BY),
        service.edit(ANN, "main", scopes=[], **BY),  # alters nothing
        service.delete_account("bob@x.org", **BY),
    ]
    assert [await rings(work) for work in quiet] == [False] * len(quiet)
    loud = [
        service.edit(ANN, "main", scopes=["A"], **BY),
        service.change(ANN, "main", 60.0, **BY),
        service.change(ANN, "main", **BY),
        service.create(ANN, "other", **BY),
        service.import_key(ANN, "old", "ab" * 32, "12345", **BY),
        service.delete(ANN, "main", **BY),
        service.delete_account(ANN, **BY),
    ]
    assert [await rings(work) for work in loud] == [True] * len(loud)


async def test_whoever_writes_next_rings_for_a_writer_that_was_killed(service: KeyService, path: Path) -> None:
    """Even where what it writes itself concerns no key."""
    await service.create(ANN, "main", **BY)
    bell = Doorbell(path)
    before = bell.count()
    assert run_writer(path, "die-before-ringing", "main") == -9
    assert bell.count() == before
    await service.note(What.PASSWORD_SET, ANN, **BY)
    assert bell.count() != before
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


async def test_a_rule_that_is_broken_passes_through_the_store(service: KeyService) -> None:
    with pytest.raises(KeyRuleBroken):
        await service.create_account(ANN, **BY)
    await service.create_account("bob@x.org", **BY)


async def test_a_killed_writer_leaves_all_of_a_change_or_nothing(path: Path) -> None:
    async with writing(path) as service:
        await service.create(ANN, "main", **BY)
        assert run_writer(path, "die-before-committing", "main") == -9
        assert len(await service.list()) == 1
        await service.edit(ANN, "main", scopes=["A"], **BY)  # and the lock was let go
        assert run_writer(path, "die-before-ringing", "main") == -9
        assert await service.list() == ()
        assert (await service.events(1))[0].what == "key.deleted"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_what_was_answered_is_there_whenever_the_writer_is_killed(path: Path) -> None:
    dice = random.Random(7)
    async with writing(path) as service:
        await service.create(ANN, "main", **BY)
        for _ in range(6):
            with start_writer(path, "edit-for-ever", "main") as writer:
                assert writer.stdout is not None
                answered = writer.stdout.readline()
                await asyncio.sleep(dice.uniform(0, 0.05))
                writer.kill()
                answered = (answered + writer.stdout.read()).splitlines()[-1]
            kept = await service.find_by_name(ANN, "main")
            # The last one may have been committed and not answered any more.
            assert kept.version in (int(answered), int(answered) + 1)
            assert (await service.events(1))[0].details.endswith(" ".join(kept.scopes))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_fifteen_smtp_credentials_are_exact_with_many_processes(path: Path) -> None:
    async with writing(path):
        pass
    writers = [start_writer(path, "create-smtp", f"w{number}-", "8") for number in range(5)]
    made = [int(writer.communicate(timeout=90)[0]) for writer in writers]
    assert sum(made) == 15
    async with await SqliteStore.open(path) as store:
        assert await store.count_smtp_credentials() == 15


async def test_keys_are_counted_by_account(service: KeyService, store: SqliteStore) -> None:
    assert (await store.keys_by_account(), await store.count_keys()) == ({}, 0)
    await service.create_account("bob@x.org", **BY)
    await service.create_account("eve@x.org", **BY)
    for name in ("a", "b"):
        await service.create(ANN, name, **BY)
    await service.create("bob@x.org", "a", **BY)
    ann, bob, _ = await store.accounts()
    assert await store.keys_by_account() == {ann.id: 2, bob.id: 1}
    assert (await store.count_keys(), await store.count_keys(ann.id), await store.count_accounts()) == (3, 2, 3)


async def test_the_newest_events_of_an_account_are_found_by_an_index(store: SqliteStore) -> None:
    """An account's page must not read everybody's history."""
    plan = await store._reads.ask(f"EXPLAIN QUERY PLAN {rows.EVENTS_OF_ACCOUNT}", (9, 9, ANN))
    assert [row[3] for row in plan] == ["SEARCH audit USING INDEX audit_of_account (account=? AND rowid<?)"]


async def test_keys_are_counted_without_reading_them(store: SqliteStore) -> None:
    plan = await store._reads.ask("EXPLAIN QUERY PLAN SELECT count(*) FROM keys")
    assert "COVERING INDEX" in plan[0][3]


async def test_usage_of_many_keys_is_one_question(service: KeyService, store: SqliteStore) -> None:
    ids = [(await service.create(ANN, name, **BY)).key.id for name in ("a", "b")]
    sums = [(ids[0], 5, "", 2), (ids[1], 5, "", 3), (ids[1], 6, "key-expired", 1)]
    await store.record_usage(sums)
    asked = [*ids, *(f"none {number}" for number in range(40_000))]  # more than SQLite takes as values
    assert sorted(await store.usage_of(asked, 0)) == sorted(sums)
    assert await store.usage_of([ids[1]], 6) == ((ids[1], 6, "key-expired", 1),)
    assert await store.recent(asked, 5) == {ids[0]: Recent(2, 0), ids[1]: Recent(3, 1)}
    assert await store.recent([], 0) == {}


async def test_who_calls_over_old_tls_is_added_up_bounded_and_ends_with_its_key(
    service: KeyService, store: SqliteStore
) -> None:
    await service.create_account("bob@example.com", **BY)
    key = (await service.create(ANN, "main", **BY)).key
    other = (await service.create("bob@example.com", "else", **BY)).key
    rung = store._bell.count()
    await store.record_old_tls([(key.id, "1.0", "192.0.2.1", 50.0, 2), ("gone", "1.0", "192.0.2.1", 50.0, 1)])
    await store.record_old_tls([(key.id, "1.0", "192.0.2.1", 60.0, 3), (other.id, "1.1", "192.0.2.2", 55.0, 1)])
    await store.record_old_tls([(key.id, "1.0", "192.0.2.1", 40.0, 1)])  # of a slower relay
    mine = OldTlsUse(ANN, key.id, "main", key.hint, "1.0", "192.0.2.1", 50.0, 60.0, 6)
    theirs = OldTlsUse("bob@example.com", other.id, "else", other.hint, "1.1", "192.0.2.2", 55.0, 55.0, 1)
    assert await store.old_tls(0.0, 10) == (mine, theirs)
    assert await store.old_tls(60.0, 10) == await store.old_tls(0.0, 1) == (mine,)
    assert await store.old_tls(0.0, 10, other.account_id) == (theirs,)
    await store.record_old_tls([(key.id, "1.1", f"198.51.100.{n}", 100.0 + n, 1) for n in range(100)])
    kept = await store.old_tls(0.0, 1000, key.account_id)
    assert [one.last_at for one in kept] == [199.0 - n for n in range(20)]
    assert store._bell.count() == rung
    await service.delete(ANN, "main", **BY)
    assert await store.old_tls(0.0, 10) == (theirs,)


async def test_usage_is_added_up_ends_with_its_key_and_never_rings(service: KeyService, store: SqliteStore) -> None:
    key = (await service.create(ANN, "main", **BY)).key
    rung = store._bell.count()
    await store.record_usage([(key.id, 5, "", 2), (key.id, 6, "scope-missing", 1), ("gone", 5, "", 9)])
    await store.record_usage([(key.id, 5, "", 3)])
    assert await store.usage(key.id, 0) == ((key.id, 5, "", 5), (key.id, 6, "scope-missing", 1))
    assert await store.usage(key.id, 6) == ((key.id, 6, "scope-missing", 1),)
    assert await store.usage("gone", 0) == ()
    assert store._bell.count() == rung
    await service.delete(ANN, "main", **BY)
    assert await store.usage(key.id, 0) == ()


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
