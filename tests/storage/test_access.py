from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from keystile.storage.access import AccessStore, Link, ManagementToken, Session
from keystile.storage.errors import StoreBusy, StoreUnreadable
from keystile.storage.passwords import Passwords, passwords_of
from tests.storage.engines import Engine

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SESSION = Session("s1", "a", 1000.0, 1000.0, "192.0.2.1", "Browser/1.0")
TOKEN = ManagementToken("t1", "a", "nightly", "abcde", 1000.0, None)


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


ONLY_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def store(engine: Engine) -> Path:
    return engine.path


@pytest.fixture
async def rows(engine: Engine) -> AsyncIterator[AccessStore]:
    rows = await engine.access()
    yield rows
    await rows.close()


@pytest.fixture
async def passwords(engine: Engine, rows: AccessStore) -> AsyncIterator[Passwords]:
    passwords = await engine.passwords(CHEAP, lambda: 1000.0)
    await passwords.set_password("a", "correct horse")
    yield passwords
    await passwords.close()


@ONLY_SQLITE
async def test_the_file_is_for_its_owner_alone(rows: AccessStore, store: Path) -> None:
    assert stat.S_IMODE(passwords_of(store).stat().st_mode) == 0o600


async def test_a_session_is_found_by_its_digest(rows: AccessStore, passwords: Passwords) -> None:
    assert await rows.add_session(SESSION, digest(1), 1, 5)
    assert await rows.session(digest(1)) == SESSION
    assert await rows.session(digest(2)) is None
    await rows.see_session("s1", 1060.0, "198.51.100.7")
    assert await rows.sessions("a") == (replace(SESSION, seen=1060.0, address="198.51.100.7"),)
    await rows.end_session("s1")
    assert await rows.session(digest(1)) is None


async def test_a_session_is_kept_only_while_the_password_is_the_one_that_was_looked_at(
    rows: AccessStore, passwords: Passwords
) -> None:
    assert not await rows.add_session(SESSION, digest(1), 2, 5)
    await passwords.set_password("a", "another one")
    assert not await rows.add_session(SESSION, digest(1), 1, 5)
    assert not await rows.add_session(replace(SESSION, account_id="b"), digest(1), 1, 5)
    assert await rows.add_session(SESSION, digest(1), 2, 5)


async def test_a_new_password_ends_the_accounts_sessions_and_links_and_no_others(
    rows: AccessStore, passwords: Passwords
) -> None:
    await passwords.set_password("b", "correct horse")
    await rows.add_session(SESSION, digest(1), 1, 5)
    await rows.add_session(replace(SESSION, id="s2", account_id="b"), digest(2), 1, 5)
    for number, account in enumerate(("a", "b", "")):
        await rows.put_link(digest(number), Link(account, 2000.0))
    await rows.add_token(TOKEN, digest(1), 5)
    await passwords.set_password("a", "another one")
    assert [await rows.session(digest(number)) is None for number in (1, 2)] == [True, False]
    assert [await rows.link(digest(number)) is None for number in range(3)] == [True, False, False]
    assert await rows.tokens("a") == (TOKEN,)


async def test_a_first_password_ends_a_link_too(rows: AccessStore, passwords: Passwords) -> None:
    await rows.put_link(digest(1), Link("new", 2000.0))
    await passwords.set_password("new", "correct horse")
    assert await rows.link(digest(1)) is None


async def test_the_session_unused_for_longest_makes_room(rows: AccessStore, passwords: Passwords) -> None:
    for number in range(4):
        session = replace(SESSION, id=f"s{number}", seen=1000.0 + number)
        await rows.add_session(session, digest(number), 1, 3)
    assert [each.id for each in await rows.sessions("a")] == ["s3", "s2", "s1"]


async def test_sessions_that_are_over_are_dropped(rows: AccessStore, passwords: Passwords) -> None:
    for number, (created, seen) in enumerate(((1.0, 100.0), (10.0, 20.0), (10.0, 100.0))):
        await rows.add_session(replace(SESSION, id=f"s{number}", created=created, seen=seen), digest(number), 1, 5)
    await rows.drop_sessions(5.0, 50.0)
    assert [each.id for each in await rows.sessions("a")] == ["s2"]


async def test_a_link_that_is_good_stays_where_that_is_asked_for(rows: AccessStore) -> None:
    assert await rows.put_link(digest(1), Link("a", 2000.0), unless_good_at=1999.0)
    assert not await rows.put_link(digest(2), Link("a", 3000.0), unless_good_at=1999.0)
    assert await rows.put_link(digest(3), Link("b", 3000.0), unless_good_at=1999.0)
    assert await rows.put_link(digest(2), Link("a", 3000.0), unless_good_at=2000.0)
    assert [await rows.link(digest(number)) is None for number in (1, 2, 3)] == [True, False, False]


async def test_an_account_has_one_link(rows: AccessStore) -> None:
    await rows.put_link(digest(1), Link("a", 2000.0))
    await rows.put_link(digest(2), Link("a", 3000.0))
    assert await rows.link(digest(1)) is None
    assert await rows.link(digest(2)) == Link("a", 3000.0)
    await rows.drop_links(2999.0)
    assert await rows.link(digest(2))
    await rows.drop_links(3000.0)
    assert await rows.link(digest(2)) is None


async def test_a_link_is_taken_once(rows: AccessStore) -> None:
    await rows.put_link(digest(1), Link("", 2000.0))
    taken = await asyncio.gather(*(rows.take_link(digest(1)) for _ in range(10)))
    assert taken.count(True) == 1


async def test_a_token_is_kept_while_there_is_room(rows: AccessStore) -> None:
    tokens = [replace(TOKEN, id=f"t{number}", created=1000.0 + number) for number in range(3)]
    kept = [await rows.add_token(token, digest(number), 2) for number, token in enumerate(tokens)]
    assert kept == [True, True, False]
    assert await rows.tokens("a") == (tokens[1], tokens[0])
    assert not await rows.delete_token("b", "t0")
    assert await rows.delete_token("a", "t0")
    assert await rows.token(digest(0)) is None
    assert await rows.token(digest(1)) == tokens[1]


async def test_a_change_that_fails_leaves_nothing(rows: AccessStore) -> None:
    async def failing() -> None:
        async with rows.file.change() as connection:
            await connection.ask("INSERT INTO links (digest, account_id, expires) VALUES (?, 'a', 1)", (digest(1),))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await failing()
    assert await rows.link(digest(1)) is None
    await rows.put_link(digest(1), Link("a", 1.0))


async def test_readers_see_only_what_is_committed(rows: AccessStore) -> None:
    async with rows.file.change() as connection:
        await connection.ask("INSERT INTO links (digest, account_id, expires) VALUES (?, 'a', 1)", (digest(1),))
        assert await rows.link(digest(1)) is None
    assert await rows.link(digest(1))


@ONLY_SQLITE
async def test_a_file_that_was_put_in_its_place_is_the_file(rows: AccessStore, store: Path, tmp_path: Path) -> None:
    await rows.put_link(digest(1), Link("a", 2000.0))
    (tmp_path / "other").mkdir()
    other = await AccessStore.open(tmp_path / "other" / "keystile.db")
    await other.put_link(digest(2), Link("b", 2000.0))
    await other.close()
    for ending in ("-wal", "-shm"):
        passwords_of(store).with_name(passwords_of(store).name + ending).unlink(missing_ok=True)
    os.replace(passwords_of(tmp_path / "other" / "keystile.db"), passwords_of(store))
    assert await rows.link(digest(1)) is None
    assert await rows.link(digest(2)) == Link("b", 2000.0)
    await rows.put_link(digest(3), Link("c", 2000.0))
    assert await rows.link(digest(3))


@ONLY_SQLITE
async def test_a_file_that_is_gone_is_told(rows: AccessStore, store: Path) -> None:
    passwords_of(store).unlink()
    with pytest.raises(StoreUnreadable):
        await rows.session(digest(1))


@ONLY_SQLITE
async def test_a_file_of_the_first_schema_keeps_its_passwords(store: Path) -> None:
    first = Path(__file__).parents[2] / "src/keystile/storage/migrations/passwords-0001_accounts.sql"
    with closing(sqlite3.connect(passwords_of(store))) as connection:
        connection.executescript(first.read_text("utf-8"))
        hashed = CHEAP.hash("correct horse")
        connection.execute("INSERT INTO passwords VALUES ('a', ?, 1.0)", (hashed,))
        connection.execute(f"PRAGMA application_id = {0x4B535450}")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    opened = await asyncio.gather(*(Passwords.open(store, CHEAP) for _ in range(4)))
    rows = await AccessStore.open(store)
    assert await opened[0].check("a", "correct horse") == 1
    assert await rows.add_session(SESSION, digest(1), 1, 5)
    await rows.close()
    for passwords in opened:
        await passwords.close()


@ONLY_SQLITE
async def test_who_was_here_last_is_noted_where_it_can_be_and_keeps_nobody_waiting(
    rows: AccessStore, passwords: Passwords, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are read while the file is locked or full; and not each of them waits for it."""
    monkeypatch.setattr("keystile.storage.connection.BUSY_TIMEOUT", 0.05)
    await rows.add_session(SESSION, digest(1), 1, 10)
    with closing(sqlite3.connect(passwords_of(store), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(1000):  # of which one waits
            await rows.see_session("s1", 2000.0, "192.0.2.9")
        assert await rows.session(digest(1)) == SESSION
    monkeypatch.setattr(rows.file, "_notes_from", 0.0)
    await rows.see_session("s1", 2000.0, "192.0.2.9")
    assert (await rows.session(digest(1))) == replace(SESSION, seen=2000.0, address="192.0.2.9")


@ONLY_SQLITE
async def test_changes_of_a_locked_file_fail_within_a_bound_however_many_wait(
    rows: AccessStore, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.storage.connection.BUSY_TIMEOUT", 0.2)
    monkeypatch.setattr(rows.file, "_patience", 0.3)
    with closing(sqlite3.connect(passwords_of(store), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        links = (rows.put_link(digest(n), Link(str(n), 1.0)) for n in range(20))
        faults = await asyncio.gather(*links, return_exceptions=True)
        assert {type(fault) for fault in faults} == {StoreBusy}
    await rows.put_link(digest(1), Link("a", 1.0))
    assert await rows.link(digest(2)) is None
