from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from keystile.storage import remembered
from keystile.storage.access import AccessStore
from keystile.storage.remembered import Remembered, RememberedStore
from tests.storage.engines import Engine


@pytest.fixture
async def rows(engine: Engine) -> AsyncIterator[AccessStore]:
    rows = await engine.access()
    yield rows
    await rows.close()


@pytest.fixture
def store(rows: AccessStore) -> RememberedStore:
    return RememberedStore(rows.file)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def test_the_first_begins_and_the_others_are_told(store: RememberedStore) -> None:
    claims = await asyncio.gather(*(store.claim("a", key(1), b"r", 1000.0, 0.0) for _ in range(10)))
    assert claims.count(None) == 1
    assert claims.count(Remembered(b"r", 0, "")) == 9


async def test_a_record_that_was_begun_says_by_which_host_and_when(store: RememberedStore) -> None:
    assert await store.claim("a", key(1), b"r", 1000.0, 0.0, "one") is None
    found = await store.claim("a", key(1), b"r", 1010.0, 0.0, "two")
    assert found is not None
    assert (found.reference, found.at) == ("one", 1000.0)
    await store.put("a", key(1), Remembered(b"r", 201, "k1"), 1011.0)
    assert await store.get("a", key(1), 0.0) == Remembered(b"r", 201, "k1")


async def test_a_record_is_its_accounts_own(store: RememberedStore) -> None:
    await store.put("a", key(1), Remembered(b"r", 201, "k1"), 1000.0)
    assert await store.get("a", key(1), 1000.0) == Remembered(b"r", 201, "k1")
    assert await store.get("b", key(1), 0.0) is None
    assert await store.get("a", key(2), 0.0) is None
    await store.forget("a", key(1))
    await store.forget("a", key(1))
    assert await store.get("a", key(1), 0.0) is None


async def test_a_record_has_a_bounded_life(store: RememberedStore) -> None:
    await store.put("a", key(1), Remembered(b"r", 201, "k1"), 1000.0)
    assert await store.get("a", key(1), 1000.1) is None
    assert await store.claim("a", key(1), b"s", 2000.0, 1000.1) is None
    assert await store.get("a", key(1), 1000.1) == Remembered(b"s", 0, "")


async def test_records_are_bounded_in_number_by_account(
    store: RememberedStore, rows: AccessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MOST", 5)
    await store.put("b", key(0), Remembered(b"r", 201, "k1"), 1000.0)
    for number in range(20):
        await store.claim("a", key(number), b"r", 1000.0 + number, 0.0)
    held = await rows.file.read("SELECT account_id, key FROM remembered ORDER BY account_id, key")
    assert held == [*(("a", key(number)) for number in range(15, 20)), ("b", key(0))]


async def test_old_records_go_when_others_come(store: RememberedStore, rows: AccessStore) -> None:
    await store.claim("b", key(1), b"r", 1000.0, 0.0)
    await store.claim("a", key(1), b"r", 5000.0, 4000.0)
    assert await rows.file.read("SELECT account_id FROM remembered") == [("a",)]
