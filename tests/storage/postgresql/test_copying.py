from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from keystile.keys.secret import digest, mark
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.storage.access import Link, ManagementToken, Session
from keystile.storage.attempts import Attempts, AttemptStore
from keystile.storage.errors import StoreUnreadable
from keystile.storage.passwords import passwords_of
from keystile.storage.postgresql import copying
from keystile.storage.postgresql.copying import TABLES, CopyRefused, copy
from keystile.storage.postgresql.tables import KEYS_TABLES, summed
from keystile.storage.remembered import Remembered, RememberedStore
from tests.storage.engines import Engine, PostgresEngine, SqliteEngine
from tests.storage.ground import ANN, BY, Clock

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def fill(engine: Engine) -> str:
    """Something in every table; return a key's secret."""
    async with await engine.open() as store:
        service, smtp = KeyService(store, Clock()), SmtpService(store, Clock())
        for email in (ANN, "Bob@x.org", "zoe@x.org"):
            await service.create_account(email, **BY)
        first = await service.create(ANN, "main", ["A", "B"], ["10.0.0.0/8"], 2000.5, **BY)
        second = await service.change(ANN, "main", 60.0, **BY)
        await service.import_key("bob@x.org", "Öld", "ab" * 32, "12345", **BY)
        credential = (await smtp.create(ANN, "m@x.org", **BY)).credential
        old = mark(digest(first.secret.encode()))
        await store.record_uses([(first.key.id, 50.25, "192.0.2.1", old)])
        await store.record_usage([(first.key.id, 5, "", 2**40), (first.key.id, 5, "key-expired", 1)])
        await store.record_old_tls([(first.key.id, "1.0", "192.0.2.1", 50.0, 2)])
        await store.record_smtp_use(credential.id, 7.0, "")
        ann = first.key.account_id
    passwords = await engine.passwords(QUICK, lambda: 1000.0)
    await passwords.set_password(ann, "correct horse")
    await passwords.close()
    rows = await engine.access()
    await rows.add_session(Session("s", ann, 1.0, 2.0, "192.0.2.1", "Browser"), b"s" * 32, 1, 5)
    await rows.put_link(b"l" * 32, Link("", 9.0))
    await rows.add_token(ManagementToken("t", ann, "nightly", "abcde", 1.0, None), b"t" * 32, 5)
    attempts = AttemptStore(rows.file)
    await attempts.step((b"a" * 32,), lambda _: (Attempts(5e9, 1.0),), 1000.0)
    await attempts.know(ann, "192.0.2.1", 3.0)
    await RememberedStore(rows.file).put(ann, b"k" * 32, Remembered(b"r", 201, "k"), 4.0)
    await rows.close()
    return second.secret


async def test_a_store_goes_to_a_database_and_back_and_nothing_is_lost(engine: PostgresEngine, tmp_path: Path) -> None:
    first, last = SqliteEngine(tmp_path / "first.db"), SqliteEngine(tmp_path / "last.db")
    await fill(first)
    there = await asyncio.to_thread(copy, first.path, engine.database)
    assert [name for name, found in there.items() if not found.rows] == []
    back = await asyncio.to_thread(copy, engine.database, last.path)
    assert back == there
    for table in TABLES:
        of = first.run if table in KEYS_TABLES else first.run_access
        again = last.run if table in KEYS_TABLES else last.run_access
        assert of(table.reading) == again(table.reading)
    for copied in (engine, last):
        passwords = await copied.passwords(QUICK)
        [(ann,)] = copied.run("SELECT id FROM accounts WHERE email = ?", (ANN,))
        assert await passwords.check(ann, "correct horse") == 1
        await passwords.close()
        async with await copied.open() as store:  # which goes on counting events
            events = await store.events(1000)
            await KeyService(store, Clock()).create(ANN, "one more", **BY)
            assert len(await store.events(1000)) == len(events) + 1


async def test_a_target_that_holds_anything_is_left_as_it_is(engine: PostgresEngine, tmp_path: Path) -> None:
    source = SqliteEngine(tmp_path / "first.db")
    await fill(source)
    rows = await engine.access()
    await rows.put_link(b"l" * 32, Link("", 9.0))
    await rows.close()
    with pytest.raises(CopyRefused, match="holds something already \\(links\\)"):
        await asyncio.to_thread(copy, source.path, engine.database)
    assert engine.run("SELECT count(*) FROM accounts") == [(0,)]
    other = SqliteEngine(tmp_path / "other.db")
    await fill(other)
    with pytest.raises(CopyRefused, match="holds something already"):
        await asyncio.to_thread(copy, source.path, other.path)


@pytest.mark.parametrize("way", ["there", "back"])
async def test_a_copy_that_differs_does_not_count(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    source: Engine = SqliteEngine(tmp_path / "first.db") if way == "there" else engine
    target: Engine = engine if way == "there" else SqliteEngine(tmp_path / "last.db")
    await fill(source)
    seen = 0

    def differs(rows: object) -> object:
        nonlocal seen
        seen += 1
        return summed(rows) if seen <= len(TABLES) + 3 else "another"  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "summed", differs)
    places = [each.database if isinstance(each, PostgresEngine) else each.path for each in (source, target)]
    with pytest.raises(CopyRefused, match="what was written to last_uses is not what was read"):
        await asyncio.to_thread(copy, *places)
    for run in (target.run, target.run_access):
        assert run("SELECT count(*) FROM accounts" if run == target.run else "SELECT count(*) FROM passwords") == [(0,)]


async def test_a_source_that_is_not_there_is_told_and_nothing_is_made(engine: PostgresEngine, tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable, match="No such file"):
        await asyncio.to_thread(copy, tmp_path / "nowhere.db", tmp_path / "last.db")
    assert not (tmp_path / "last.db").exists()
    assert not passwords_of(tmp_path / "nowhere.db").exists()
    engine.run("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreUnreadable, match="schema 99"):
        await asyncio.to_thread(copy, engine.database, tmp_path / "last.db")
