from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keystile.storage.doorbell import Doorbell, doorbell_of
from tests.chaos import faults
from tests.soak.gateway import fill
from tests.soak.patience import until


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    await fill(tmp_path / "keystile.db", 1)
    return tmp_path / "keystile.db"


def content(store: Path) -> bytes:
    return store.read_bytes()


def overwrite_a_page(store: Path) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as one:
        one.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = one.execute("PRAGMA page_size").fetchone()[0]
    with store.open("r+b") as file:
        file.seek(5 * page)
        file.write(bytes(page))


async def test_while_it_is_locked_nobody_else_can_write(store: Path) -> None:
    locked = asyncio.ensure_future(faults.lock(store, 0.5))
    with closing(sqlite3.connect(store, timeout=0, isolation_level=None)) as other:

        def is_locked() -> bool:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            other.execute("ROLLBACK")
            return False

        assert await until(is_locked, 10)
        await locked
        assert not is_locked()


async def test_what_was_moved_away_comes_back_as_it_was(store: Path) -> None:
    before = content(store)
    moved = asyncio.ensure_future(faults.move_away(store, 0.1))
    assert await until(lambda: not store.exists(), 10)
    await moved
    assert content(store) == before
    assert faults.integrity(store) == []


async def test_a_bell_that_lies_shows_another_count(store: Path) -> None:
    bell = Doorbell(store)
    before = bell.count()
    faults.ring_for_nothing(store)
    assert bell.count() != before
    faults.truncate(store)
    assert bell.replaced()
    bell.close()
    faults.remove(store)
    assert not doorbell_of(store).exists()
    faults.ring_for_nothing(store)
    faults.truncate(store)
    assert not doorbell_of(store).exists()


async def test_a_damaged_store_is_told(store: Path) -> None:
    overwrite_a_page(store)
    found = faults.integrity(store)
    assert found
    assert all("damaged" in each for each in found)
