from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from keystile.config.database import parse
from keystile.storage.errors import StoreBusy, StoreUnreadable
from keystile.storage.postgresql import connection as module
from keystile.storage.postgresql.connection import ACCESS, KEYS, Connection
from keystile.storage.postgresql.database import Database
from tests.config.certificates import make
from tests.storage.engines import PostgresEngine
from tests.storage.postgres_server import Server, free_port, needs_postgresql, server


@pytest.fixture
async def reads(engine: PostgresEngine) -> AsyncIterator[Connection]:
    connection = Connection(engine.database, repeats=True)
    yield connection
    await connection.close()


@pytest.fixture
async def writes(engine: PostgresEngine) -> AsyncIterator[Connection]:
    connection = Connection(engine.database, lock=ACCESS, lock_timeout=0.2)
    yield connection
    await connection.close()


PUT = "INSERT INTO links (digest, account_id, expires) VALUES (?, ?, ?)"


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def test_what_changes_something_is_a_transaction_by_itself(writes: Connection, reads: Connection) -> None:
    await writes.ask(PUT, (digest(1), "a", 1.0))
    assert await reads.ask("SELECT account_id FROM links") == [("a",)]
    with pytest.raises(psycopg.IntegrityError):
        await writes.ask(PUT, (digest(1), "b", 1.0))
    await writes.ask(PUT, (digest(2), "b", 1.0))  # and the way is free


async def test_only_one_writes_at_a_time_and_waits_within_a_bound(writes: Connection, engine: PostgresEngine) -> None:
    other = Connection(engine.database, lock=ACCESS)
    await other.begin()
    with pytest.raises(StoreBusy, match="others have been changing it for too long"):
        await writes.ask(PUT, (digest(1), "a", 1.0))
    with pytest.raises(StoreBusy):
        await writes.begin()
    await other.commit()
    await writes.ask(PUT, (digest(1), "a", 1.0))
    await other.close()


async def test_who_changes_keys_does_not_wait_for_who_signs_in(writes: Connection, engine: PostgresEngine) -> None:
    other = Connection(engine.database, lock=KEYS)
    await other.begin()
    await writes.begin()
    await writes.roll_back()
    await other.close()


@pytest.mark.parametrize("turns", range(0, 30, 3))
async def test_a_cancelled_transaction_lets_go_of_its_turn(
    writes: Connection, engine: PostgresEngine, turns: int
) -> None:
    async def work() -> None:
        try:
            await writes.begin()
            await writes.ask(PUT, (digest(1), "a", 1.0))
        finally:
            await writes.roll_back()

    task = asyncio.create_task(work())
    for _ in range(turns):
        await asyncio.sleep(0.0003)
    task.cancel()
    await asyncio.wait([task])
    other = Connection(engine.database, lock=ACCESS, lock_timeout=0.2)
    await other.ask(PUT, (digest(1), "b", 1.0))
    await other.close()


async def test_a_transaction_that_has_failed_cannot_be_committed(writes: Connection) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK then, which is no error to it."""
    await writes.begin()
    with pytest.raises(psycopg.IntegrityError):
        await writes.ask(PUT, (b"short", "a", 1.0))
    with pytest.raises(StoreUnreadable):
        await writes.commit()
    await writes.roll_back()


async def test_a_database_that_was_restarted_is_gone_over_to(own: Server, tmp_path: Path) -> None:
    database = own.database()
    reads, writes = Connection(database, repeats=True), Connection(database, lock=ACCESS)
    for each in (reads, writes):
        assert await each.ask("SELECT 1") == [(1,)]
    own.stop()
    with pytest.raises(StoreUnreadable) as caught:
        await reads.ask("SELECT 1")
    assert caught.value.why == "the database cannot be reached"
    own.start()
    assert await reads.ask("SELECT 1") == [(1,)]
    own.stop(signal.SIGQUIT)
    own.start()
    # Nobody has noticed yet that both are lost.
    assert await reads.ask("SELECT 1") == [(1,)]
    await writes.begin()
    await writes.roll_back()
    for each in (reads, writes):
        await each.close()


async def test_a_server_that_stands_still_is_given_up_and_no_question_hangs(
    own: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    reads = Connection(own.database(), repeats=True)
    await reads.ask("SELECT 1")
    own.pause()
    try:
        hurried = asyncio.create_task(reads.ask("SELECT 2"))
        await asyncio.sleep(0.05)
        hurried.cancel()  # whoever asks for health does not wait for the answer
        await asyncio.wait([hurried], timeout=0.2)
        assert hurried.cancelled()
    finally:
        own.go_on()
    assert await reads.ask("SELECT 3") == [(3,)]
    own.pause()
    try:
        monkeypatch.setattr(reads, "_repeats", False)
        leaving = asyncio.create_task(reads.ask("SELECT 4"))
        await asyncio.sleep(0.05)
        leaving.cancel()
        with pytest.raises(StoreUnreadable):
            await reads.ask("SELECT 5")
    finally:
        own.go_on()
    assert await reads.ask("SELECT 6") == [(6,)]
    await reads.close()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_why_it_cannot_be_reached_shows_no_password(own: Server, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n", "utf-8")
    options = (("host", "127.0.0.1"), ("port", "1"), ("user", "keystile"), ("dbname", "keys"))
    connection = Connection(Database(options, tmp_path / "password"))
    with pytest.raises(StoreUnreadable) as caught:
        await connection.ask("SELECT 1")
    assert str(caught.value).startswith("the store postgresql://keystile@127.0.0.1:1/keys: ")
    assert "open sesame" not in str(caught.value) + repr(caught.value.__cause__) + repr(connection.__dict__)
    missing = Connection(Database((*own.named("nowhere").options,)))
    with pytest.raises(StoreUnreadable, match='database "nowhere" does not exist') as refused:
        await missing.ask("SELECT 1")
    assert "nowhere" not in refused.value.why


async def test_a_value_that_it_cannot_keep_is_told(writes: Connection) -> None:
    with pytest.raises(StoreUnreadable):
        await writes.ask(PUT, (digest(1), "a\0b", 1.0))


async def test_a_notification_is_heard_whoever_sends_it(engine: PostgresEngine) -> None:
    listener = Connection(engine.database)
    await listener.listen("keystile_changes")
    assert not await listener.notified(0.01)
    engine.run("NOTIFY keystile_changes")
    assert await listener.notified(30)
    await listener.close()


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Server]:
    needs_postgresql()
    with server(free_port()) as made:
        made.run("CREATE ROLE keystile LOGIN PASSWORD 'open sesame'")
        made.stop()
        made.secure(*make(tmp_path, "server"))
        made.start()
        yield made


async def test_over_tls_a_server_is_believed_by_its_certificate_and_we_by_our_password(
    secured: Server, tmp_path: Path
) -> None:
    """As gateway.yaml says it: a name or an authority that is another's is refused before the password is sent."""
    (tmp_path / "right").write_text("open sesame\n", "utf-8")
    (tmp_path / "wrong").write_text("open barley\n", "utf-8")
    ours, theirs = tmp_path / "server.cert.pem", make(tmp_path, "another")[0]

    async def asked(host: str, authority: Path, password: str) -> str:
        url = f"postgresql://keystile@{host}:{secured.port}/postgres?sslmode=verify-full&sslrootcert={authority}"
        connection = Connection(Database(parse(url).options, tmp_path / password))
        try:
            return str((await connection.ask("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))[0][0])
        except StoreUnreadable as fault:
            return str(fault)
        finally:
            await connection.close()

    assert await asked("localhost", ours, "right") == "True"
    refused = await asked("localhost", ours, "wrong")
    assert "password authentication failed" in refused
    assert "barley" not in refused
    assert "certificate verify failed" in await asked("localhost", theirs, "right")
    assert "does not match host name" in await asked("127.0.0.1", ours, "right")
    plain = f"postgresql://keystile@localhost:{secured.port}/postgres?sslmode=disable"
    with pytest.raises(StoreUnreadable, match="no pg_hba"):
        await Connection(Database(parse(plain).options, tmp_path / "right")).ask("SELECT 1")
