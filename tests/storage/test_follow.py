from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from keystile.keys.key import Account, ApiKey
from keystile.keys.keyring import Keyring
from keystile.keys.networks import EVERYWHERE
from keystile.keys.secret import digest, generate
from keystile.keys.smtp import SmtpService
from keystile.storage import follow, migrate
from keystile.storage.doorbell import doorbell_of
from keystile.storage.errors import StoreUnreadable
from keystile.storage.follow import KeyFollower
from keystile.storage.sqlite import SqliteStore
from tests.storage.engines import Engine
from tests.storage.ground import ANN, BY, Clock, admits, run_writer, start_writer, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keystile.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(path: Path, clock: Clock) -> Iterator[Callable[[], KeyFollower]]:
    """Start a follower with a keyring of its own, as a relay does."""
    started: list[KeyFollower] = []

    def start() -> KeyFollower:
        follower = KeyFollower(path, Keyring(), clock, clock)
        follower.load()
        started.append(follower)
        return follower

    yield start
    for follower in started:
        follower.close()


@pytest.fixture
def begin(engine: Engine, clock: Clock) -> Iterator[Callable[[], KeyFollower]]:
    """The same for each engine."""
    started: list[KeyFollower] = []

    def begin() -> KeyFollower:
        follower = engine.follower(Keyring(), clock, clock)
        follower.load()
        started.append(follower)
        return follower

    yield begin
    for follower in started:
        follower.close()


Start = Callable[[], KeyFollower]


def overlaps(follower: KeyFollower) -> int:
    return len(follower._keyring._overlaps)


def put_in_place(spare: Path, path: Path) -> None:
    """Replace the store by another as an operator should: with nothing of the old one left beside it."""
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.replace(spare, path)


async def test_every_change_is_known_to_the_next_request(engine: Engine, begin: Start) -> None:
    async with writing(engine) as service:
        one, two = begin(), begin()
        created = await service.create(ANN, "main", ["A"], **BY)
        assert not one.current()
        assert admits(one, created.secret)
        assert admits(two, created.secret)
        assert one.current()

        await service.edit(ANN, "main", scopes=["B"], networks=["10.0.0.1"], **BY)
        assert admits(one, created.secret)
        held = one._keyring.get(created.key.id)
        assert held is not None
        assert (held.scopes, held.networks.texts) == (frozenset({"B"}), ("10.0.0.1",))

        changed = await service.change(ANN, "main", **BY)
        assert [admits(one, each.secret) for each in (created, changed)] == [False, True]

        await service.edit(ANN, "main", expires=1001.0, **BY)
        assert [admits(one, changed.secret, now) for now in (1000.9, 1001.0)] == [True, False]
        await service.edit(ANN, "main", expires=None, **BY)
        assert admits(one, changed.secret, 1001.0)

        await service.delete(ANN, "main", **BY)
        assert not admits(one, changed.secret)
        assert not admits(two, changed.secret)
        assert len(two._keyring) == 0


async def test_an_account_that_is_deleted_takes_its_keys_with_it(engine: Engine, begin: Start) -> None:
    async with writing(engine) as service:
        secrets = [(await service.create(ANN, f"k{number}", **BY)).secret for number in range(3)]
        follower = begin()
        assert all(admits(follower, secret) for secret in secrets)
        await service.delete_account(ANN, **BY)
        assert not any(admits(follower, secret) for secret in secrets)


async def test_an_overlap_is_honoured_and_ends_by_itself(path: Path, start: Start, clock: Clock) -> None:
    async with writing(path) as service:
        old = (await service.import_key(ANN, "main", digest(b"old").hex(), "..old", **BY)).key
        follower = start()
        assert admits(follower, "old")
        new = await service.change(ANN, "main", 60, **BY)
        assert admits(follower, new.secret)
        assert admits(follower, "old", 1059.9)
        assert not admits(follower, "old", 1060.0)
        assert overlaps(follower) == 1
        clock.now = 1060.0
        follower.check()
        assert overlaps(follower) == 0
        assert old.imported
        assert len(start()._keyring) == 1


async def test_a_store_can_be_followed_whose_writers_have_all_gone(path: Path, start: Start) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
    assert not path.with_name("keystile.db-wal").exists()
    follower = start()
    assert admits(follower, created.secret)
    async with writing(path) as service:
        await service.delete(ANN, "main", **BY)
    assert not admits(follower, created.secret)


async def test_a_change_that_comes_while_the_log_is_read_rings_again(
    path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bell is read before the log: the other way round, this change would be lost."""
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
        follower = start()
        read = follower._read
        overtaken: list[int] = []

        def read_and_be_overtaken(connection: sqlite3.Connection) -> None:
            read(connection)
            if not overtaken:
                overtaken.append(run_writer(path, "create", "other", "1"))

        monkeypatch.setattr(follower, "_read", read_and_be_overtaken)
        await service.edit(ANN, "main", scopes=["A"], **BY)
        assert admits(follower, created.secret)
        assert overtaken == [0]
        assert not follower.current()
        follower.catch_up()
        assert follower.current()
        assert len(follower._keyring) == 2


async def test_two_writers_at_once_lose_no_change(engine: Engine, begin: Start) -> None:
    async with writing(engine) as service:
        follower = begin()
        writers = [start_writer(engine, "create", f"w{number}-", "5") for number in range(3)]
        while any(writer.poll() is None for writer in writers):
            if not follower.current():
                follower.catch_up()
        assert [writer.communicate()[0] for writer in writers] == ["5\n"] * 3
        if not follower.current():
            follower.catch_up()
        assert len(follower._keyring) == len(await service.list()) == 15


async def test_a_writer_killed_before_it_rang_is_found_by_the_check(path: Path, start: Start) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
        follower = start()
        assert run_writer(path, "die-before-ringing", "main") == -9
        assert follower.current()  # the lie
        follower.check()
        assert not admits(follower, created.secret)


async def test_the_next_writer_rings_for_one_that_was_killed(engine: Engine, begin: Start) -> None:
    async with writing(engine) as service:
        created = await service.create(ANN, "main", **BY)
        follower = begin()
        assert run_writer(engine, "die-before-ringing", "main") == -9
        await service.create(ANN, "other", **BY)
        assert not admits(follower, created.secret)


@pytest.mark.parametrize("size", [0, 3])
async def test_a_truncated_bell_hides_no_change(path: Path, start: Start, size: int) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
        other = await service.create(ANN, "other", **BY)
        follower = start()
        os.truncate(doorbell_of(path), size)
        await service.delete(ANN, "main", **BY)
        assert not admits(follower, created.secret)
        assert admits(follower, other.secret)
        os.truncate(doorbell_of(path), size)
        follower.check()
        assert follower.current()
        await service.delete(ANN, "other", **BY)
        assert not admits(follower, other.secret)


async def test_a_bell_that_was_replaced_is_found_by_the_check(path: Path, start: Start) -> None:
    created = None
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
        other = await service.create(ANN, "other", **BY)
    follower = start()
    doorbell_of(path).unlink()
    async with writing(path) as service:
        await service.delete(ANN, "main", **BY)
        assert follower.current()  # it listens to a bell that nobody rings any more
        follower.check()
        assert not admits(follower, created.secret)
        await service.delete(ANN, "other", **BY)
        assert not admits(follower, other.secret)


async def test_a_bell_replaced_under_a_writer_that_stays_hides_nothing(path: Path, start: Start) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
        follower = start()
        doorbell_of(path).unlink()
        await service.delete(ANN, "main", **BY)
        assert not admits(follower, created.secret)


async def test_a_store_replaced_by_another_is_loaded_whole(path: Path, start: Start, tmp_path: Path) -> None:
    async with writing(path) as service:
        mine = await service.create(ANN, "main", **BY)
    spare = tmp_path / "spare.db"
    async with writing(spare) as service:
        theirs = [await service.create(ANN, f"k{number}", **BY) for number in range(4)]
    follower = start()
    put_in_place(spare, path)
    follower.check()
    assert not admits(follower, mine.secret)
    assert all(admits(follower, each.secret) for each in theirs)
    async with writing(path) as service:
        await service.delete(ANN, "k1", **BY)
    assert [admits(follower, each.secret) for each in theirs] == [True, False, True, True]


async def test_a_store_replaced_and_then_changed_is_loaded_when_the_bell_rings(
    path: Path, start: Start, tmp_path: Path
) -> None:
    async with writing(path) as service:
        mine = await service.create(ANN, "main", **BY)
    spare = tmp_path / "spare.db"
    async with writing(spare) as service:
        theirs = await service.create(ANN, "spare", **BY)
    follower = start()
    put_in_place(spare, path)
    async with writing(path) as service:
        await service.create(ANN, "more", **BY)
    assert not admits(follower, mine.secret)
    assert admits(follower, theirs.secret)


async def test_another_store_copied_over_the_file_is_loaded_whole(path: Path, start: Start, tmp_path: Path) -> None:
    async with writing(path) as service:
        mine = await service.create(ANN, "main", **BY)
    spare = tmp_path / "spare.db"
    async with writing(spare) as service:
        theirs = await service.create(ANN, "spare", **BY)
    follower = start()
    shutil.copyfile(spare, path)
    follower.check()
    assert not admits(follower, mine.secret)
    assert admits(follower, theirs.secret)


async def test_a_store_restored_from_its_copy_is_loaded_whole(path: Path, start: Start, tmp_path: Path) -> None:
    """Same uuid, and by the time we look the log is as long as the one we followed, but tells of other things."""
    copy = tmp_path / "copy.db"
    async with writing(path) as service:
        kept = await service.create(ANN, "kept", **BY)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        lost = await service.create(ANN, "lost", **BY)
        follower = start()
        assert admits(follower, lost.secret)
        with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
        await service.delete(ANN, "kept", **BY)
        new = [await service.create(ANN, f"k{number}", **BY) for number in range(3)]
    assert not admits(follower, lost.secret)
    assert not admits(follower, kept.secret)
    assert all(admits(follower, each.secret) for each in new)


async def test_a_log_pruned_beyond_our_place_is_no_reason_to_miss_anything(path: Path, start: Start) -> None:
    async with writing(path) as service:
        gone = await service.create(ANN, "gone", **BY)
        follower = start()
        await service.delete(ANN, "gone", **BY)
        stays = await service.create(ANN, "stays", **BY)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)")
            connection.commit()
    assert not admits(follower, gone.secret)
    assert admits(follower, stays.secret)


async def test_a_gap_in_the_log_is_no_reason_to_miss_anything(path: Path, start: Start) -> None:
    async with writing(path) as service:
        gone = await service.create(ANN, "gone", **BY)
        follower = start()
        place = follower._place
        assert place is not None
        await service.delete(ANN, "gone", **BY)
        await service.create(ANN, "stays", **BY)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM changes WHERE seq = ?", (place.seq + 1,))
            connection.commit()
    assert not admits(follower, gone.secret)


async def test_a_long_backlog_is_a_whole_load(path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_BACKLOG", 3)
    async with writing(path) as service:
        follower = start()
        monkeypatch.setattr(follower, "_apply", None)
        created = [await service.create(ANN, f"k{number}", **BY) for number in range(6)]
        assert all(admits(follower, each.secret) for each in created)


async def test_an_unreadable_store_is_said_so_and_trusted_meanwhile(path: Path, start: Start, clock: Clock) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
        follower = start()
        await service.create(ANN, "other", **BY)
    away = path.with_name("away")
    os.replace(path, away)
    clock.now = 1500.0
    assert not follower.catch_up()
    assert (follower.unreadable_since, follower.current()) == (1500.0, False)
    assert "keystile.db" in str(follower.unreadable_because)
    assert admits(follower, created.secret)
    clock.now = 1501.0
    follower.check()
    assert follower.unreadable_since == 1500.0
    os.replace(away, path)
    clock.now = 1501.1
    assert not follower.catch_up()  # within the pause
    clock.now = 1501.5
    assert follower.catch_up()
    assert {follower.unreadable_since, follower.unreadable_because} == {None}
    assert len(follower._keyring) == 2


@pytest.mark.parametrize("content", [b"", b"garbage" * 3000])
async def test_a_damaged_store_is_unreadable_and_leaves_the_keyring(
    path: Path, start: Start, clock: Clock, content: bytes
) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
    follower = start()
    put_in_place(_file_with(path.with_name("spare"), content), path)
    follower.check()
    assert follower.unreadable_since == 1000.0
    assert admits(follower, created.secret)


def _file_with(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


async def test_revocations_count_even_when_the_rest_cannot_be_read(
    path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writing(path) as service:
        gone = await service.create(ANN, "gone", **BY)
        follower = start()
        await service.delete(ANN, "gone", **BY)
        await service.create(ANN, "other", **BY)
        monkeypatch.setattr(follow, "HELD_KEYS", "SELECT broken")
        assert not follower.catch_up()
        assert not admits(follower, gone.secret)
        assert not follower.current()


async def test_a_store_that_is_not_there_cannot_be_loaded(path: Path, clock: Clock) -> None:
    with pytest.raises(StoreUnreadable, match="missing"):
        KeyFollower(path.parent / "missing" / "keystile.db", Keyring(), clock)
    follower = KeyFollower(path, Keyring(), clock, clock)
    with pytest.raises(StoreUnreadable, match=r"keystile\.db"):
        follower.load()
    follower.close()
    assert "keystile.db" not in os.listdir(path.parent)


async def test_a_store_of_a_newer_version_cannot_be_loaded(path: Path, clock: Clock) -> None:
    async with writing(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE schema_rule")
        connection.execute("PRAGMA user_version = 99")
    follower = KeyFollower(path, Keyring(), clock, clock)
    with pytest.raises(StoreUnreadable, match="newer"):
        follower.load()
    follower.close()


async def test_a_follower_writes_nothing(path: Path, start: Start) -> None:
    async with writing(path):
        follower = start()
        connection = follower._connection
        assert connection is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM accounts")


async def test_checkpoints_do_not_disturb_a_follower(path: Path, start: Start) -> None:
    async with writing(path) as service:
        created = await service.create(ANN, "main", **BY)
        follower = start()
        held = follower._keyring.get(created.key.id)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        follower.check()
        assert follower.unreadable_since is None
        assert follower._keyring.get(created.key.id) is held  # nothing was loaded anew
        await service.delete(ANN, "main", **BY)
        assert not admits(follower, created.secret)


# -- a store that goes over to a newer schema while relays follow it ---------------------------------------------


@contextmanager
def as_version_2() -> Iterator[None]:
    """Be, for a while, the version whose newest schema is 2."""
    scripts = migrate.STORE.scripts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate.Series, "scripts", lambda self: {number: scripts[number] for number in (1, 2)})
        yield


async def _write_as_version_2(path: Path) -> str:
    """Make a store of schema 2 with a key, by statements of that version; return the key's secret."""
    secret = generate()
    key = ApiKey("k", "a", ANN, "main", "12345", frozenset(), EVERYWHERE, None, 0.0, False)
    with as_version_2():
        async with await SqliteStore.open(path) as store, store.change() as tx:
            await tx.add_account(Account("a", ANN, False, 0.0))
            await tx.add_key(key, digest(secret.encode()))
    return secret


async def test_a_relay_follows_a_store_of_the_schema_before_and_its_migration_loads_nothing_again(
    path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await _write_as_version_2(path)
    follower = start()  # of this version, before anybody has migrated
    assert admits(follower, secret)
    held, seen = follower._keyring.get("k"), follower.seen
    async with writing(path) as service:
        assert follower.words[0] != seen, "the migration has rung"
        assert follower.catch_up()
        assert follower._keyring.get("k") is held
        # As cheap as any ring: only the log was asked, and it says that no key has changed.
        monkeypatch.setattr(Keyring, "load_rows", lambda *_: pytest.fail("loaded anew"))
        monkeypatch.setattr(Keyring, "put", lambda *_: pytest.fail("taken in anew"))
        follower.check()
        await SmtpService(service._store).create(ANN, "mail@x.org", **BY)
        assert admits(follower, secret)
        await service.delete(ANN, "main", **BY)
        assert not admits(follower, secret)


async def test_a_relay_of_the_version_before_goes_on_and_then_says_that_the_store_is_newer(
    path: Path, start: Start
) -> None:
    """Until it opens the file anew it follows; from then on it lives on what it knows (``trust_without_store``)."""
    secret = await _write_as_version_2(path)
    with as_version_2():
        follower = start()
    async with writing(path) as service:
        added = (await service.create(ANN, "added", **BY)).secret
        with as_version_2():
            assert admits(follower, secret)
            assert admits(follower, added), "the schema has grown by tables that a follower does not read"
            os.utime(path, (1, 1))  # the file itself is touched, as by a checkpoint
            follower.check()
        assert f"newer Keystile: schema {migrate.STORE.newest}" in str(follower.unreadable_because)
        assert admits(follower, secret)


async def test_what_is_written_as_soon_as_a_store_is_back_counts_at_once(path: Path, start: Start) -> None:
    async with writing(path) as service:
        old = await service.create(ANN, "old", **BY)
        follower = start()
        await service.create(ANN, "other", **BY)
    away = path.with_name("away")
    os.replace(path, away)
    assert not follower.catch_up()
    os.replace(away, path)
    assert not follower.catch_up()  # within the pause
    async with writing(path) as service:
        new = await service.create(ANN, "new", **BY)
        await service.delete(ANN, "old", **BY)
    assert follower.catch_up()  # within the pause as well, but it has rung
    assert admits(follower, new.secret)
    assert not admits(follower, old.secret)


@pytest.mark.parametrize("jump", [-1e6, 1e6])
async def test_a_wall_clock_that_jumps_neither_shortens_nor_lengthens_what_is_trusted(path: Path, jump: float) -> None:
    wall, steady = Clock(), Clock()
    async with writing(path):
        pass
    follower = KeyFollower(path, Keyring(), wall, steady)
    follower.load()
    os.replace(path, path.with_name("away"))
    follower.check()
    wall.now += jump
    steady.now += 0.1
    assert (follower.catch_up(), follower.unreadable_since) == (False, 1000.0)  # within the pause
    os.replace(path.with_name("away"), path)
    assert not follower.catch_up()
    steady.now += 0.5
    assert follower.catch_up()
    follower.close()


async def test_an_overlap_is_honoured_again_when_a_clock_that_was_ahead_is_set_right(
    path: Path, start: Start, clock: Clock
) -> None:
    async with writing(path) as service:
        old = await service.create(ANN, "main", **BY)
        new = await service.change(ANN, "main", 3600.0, **BY)
        follower = start()
        assert admits(follower, old.secret, clock.now)
        clock.now += 1e8
        follower.check()
        assert not admits(follower, old.secret, clock.now)
        clock.now -= 1e8 - 5
        follower.check()
        assert admits(follower, old.secret, clock.now)
        assert admits(follower, new.secret, clock.now)
        clock.now += 7200
        follower.check()
        assert not admits(follower, old.secret, clock.now)
