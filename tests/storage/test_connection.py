from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from keystile.storage.connection import Connection
from keystile.storage.errors import StoreUnreadable


def make(path: Path, number: int) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        connection.commit()
    return path


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Connection]:
    connection = Connection(make(tmp_path / "a.db", 1), "synchronous = NORMAL")
    yield connection
    await connection.close()


async def test_pragmas_hold_for_the_connection(connection: Connection) -> None:
    assert await connection.ask("PRAGMA synchronous") == [(1,)]


async def test_a_transaction_is_committed_or_rolled_back(connection: Connection) -> None:
    await connection.begin()
    await connection.many("INSERT INTO t VALUES (?)", [(2,), (3,)])
    await connection.commit()
    await connection.begin()
    await connection.ask("DELETE FROM t")
    await connection.roll_back()
    await connection.roll_back()
    assert await connection.ask("SELECT x FROM t") == [(1,), (2,), (3,)]


async def test_a_file_put_in_the_place_of_ours_is_opened(connection: Connection, tmp_path: Path) -> None:
    assert await connection.ask("SELECT x FROM t") == [(1,)]
    os.replace(make(tmp_path / "b.db", 2), connection.path)
    assert await connection.ask("SELECT x FROM t") == [(1,)]
    await asyncio.gather(*(connection.renew() for _ in range(5)))
    assert await connection.ask("SELECT x FROM t") == [(2,)]


async def test_a_connection_that_was_closed_is_opened_by_its_next_use(connection: Connection) -> None:
    await connection.close()
    await connection.close()
    assert await connection.ask("SELECT x FROM t") == [(1,)]


async def test_no_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    connection = Connection(tmp_path / "missing.db")
    with pytest.raises(StoreUnreadable, match="missing"):
        await connection.ask("SELECT 1")
    await connection.roll_back()
    assert os.listdir(tmp_path) == []


async def test_a_pragma_that_fails_leaves_no_connection_open(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open(path, "wb") as file:  # noqa: ASYNC230
        file.write(b"garbage" * 1000)
    with pytest.raises(StoreUnreadable, match="not a database"):
        await Connection(path, "user_version").ask("SELECT 1")


async def test_values_of_statements_are_in_no_log(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await connection.ask("SELECT ?", ("a digest",))
    assert "a digest" not in caplog.text


async def test_a_file_that_was_opened_read_only_is_opened_anew_when_it_can_be_written(connection: Connection) -> None:
    """As one on a file system that the kernel had made read-only."""
    await connection.ask("PRAGMA query_only = ON")  # stands for it: root may write anything
    with pytest.raises(StoreUnreadable, match="readonly"):
        await connection.ask("UPDATE t SET x = 7")
    await connection.begin()
    await connection.ask("UPDATE t SET x = 7")
    await connection.commit()
    assert await connection.ask("SELECT x FROM t") == [(7,)]
