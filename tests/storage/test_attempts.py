from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from keystile.storage.access import AccessStore
from keystile.storage.attempts import MOST_KNOWN, Attempts, AttemptStore, Rows
from tests.storage.engines import Engine


@pytest.fixture
async def rows(engine: Engine) -> AsyncIterator[AccessStore]:
    rows = await engine.access()
    yield rows
    await rows.close()


@pytest.fixture
def attempts(rows: AccessStore) -> AttemptStore:
    return AttemptStore(rows.file, most=20)


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def one_more(rows: Rows) -> Rows:
    return tuple(replace(row, empty=max(row.empty, 1000.0) + 1) for row in rows)


async def test_rows_are_read_and_kept_together(attempts: AttemptStore) -> None:
    names = (name(1), name(2))
    before, after = await attempts.step(names, one_more, 1000.0)
    assert before == (Attempts(), Attempts())
    assert after == (Attempts(1001.0, 0.0), Attempts(1001.0, 0.0))
    assert (await attempts.step(names, one_more, 1000.0))[0] == after


async def test_none_keeps_nothing(attempts: AttemptStore) -> None:
    assert await attempts.step((name(1),), lambda _: None, 1000.0) == ((Attempts(),), None)
    assert (await attempts.step((name(1),), one_more, 1000.0))[0] == (Attempts(),)


async def test_many_at_once_are_counted_one_by_one(attempts: AttemptStore) -> None:
    await asyncio.gather(*(attempts.step((name(1),), one_more, 1000.0) for _ in range(30)))
    assert (await attempts.step((name(1),), lambda _: None, 1000.0))[0] == (Attempts(1030.0, 0.0),)


async def test_a_row_that_has_leaked_empty_goes(attempts: AttemptStore, rows: AccessStore) -> None:
    await attempts.step((name(1),), one_more, 1000.0)
    await attempts.step((name(1),), lambda rows: (Attempts(999.0, 5000.0),), 1000.0)
    assert await rows.file.read("SELECT name FROM attempts") == []


async def test_rows_are_bounded_and_the_mildest_go_first(attempts: AttemptStore, rows: AccessStore) -> None:
    for number in range(200):
        level = 5000.0 if number == 3 else 1001.0 + number / 1000
        await attempts.step((name(number),), lambda _, level=level: (Attempts(level, 0.0),), 1000.0)  # type: ignore[misc]
        assert len(await rows.file.read("SELECT name FROM attempts")) <= 20
    held = {row[0] for row in await rows.file.read("SELECT name FROM attempts")}
    assert name(3) in held
    assert name(4) not in held


async def test_what_failed_can_be_forgotten(attempts: AttemptStore) -> None:
    await attempts.step((name(1),), one_more, 1000.0)
    await attempts.forget(name(1))
    await attempts.forget(name(1))
    assert (await attempts.step((name(1),), one_more, 1000.0))[0] == (Attempts(),)


async def test_an_account_is_known_where_it_has_signed_in(attempts: AttemptStore) -> None:
    await attempts.know("a", "192.0.2.1", 1000.0)
    assert await attempts.knows("a", "192.0.2.1", 1000.0)
    assert not await attempts.knows("a", "192.0.2.1", 1000.1)
    assert not await attempts.knows("a", "192.0.2.2", 0.0)
    assert not await attempts.knows("b", "192.0.2.1", 0.0)
    await attempts.know("a", "192.0.2.1", 2000.0)
    assert await attempts.knows("a", "192.0.2.1", 2000.0)


async def test_only_the_latest_places_are_remembered(attempts: AttemptStore) -> None:
    for number in range(MOST_KNOWN + 1):
        await attempts.know("a", f"192.0.2.{number}", 1000.0 + number)
    assert not await attempts.knows("a", "192.0.2.0", 0.0)
    assert await attempts.knows("a", "192.0.2.1", 0.0)
