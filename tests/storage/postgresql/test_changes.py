from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from keystile.storage.postgresql import changes
from keystile.storage.postgresql.changes import Place, since
from keystile.storage.postgresql.connection import Connection
from tests.storage.engines import PostgresEngine
from tests.storage.ground import ANN, BY, writing


@pytest.fixture
async def log(engine: PostgresEngine) -> AsyncIterator[Connection]:
    connection = Connection(engine.database)
    yield connection
    await connection.close()


async def test_what_has_changed_is_read_from_a_place_on(engine: PostgresEngine, log: Connection) -> None:
    empty = await since(log, None)
    assert (empty.whole, empty.keys, empty.is_empty) == (True, (), False)
    async with writing(engine) as service:
        gone = (await service.create(ANN, "gone", **BY)).key
        kept = (await service.create(ANN, "kept", ["A"], ["10.0.0.0/8"], 5e9, **BY)).key
        await service.delete(ANN, "gone", **BY)
    news = await since(log, empty.place)
    assert not news.whole
    assert set(news.changed) == {gone.id, kept.id}
    (found,) = news.keys
    assert (found.id, found.email, found.scopes) == (kept.id, ANN, "A")
    assert (found.networks, found.expires) == ("10.0.0.0/8", 5e9)
    assert 0 < news.age < 600
    assert (await since(log, news.place)).is_empty


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE meta SET value = 'another' WHERE name = 'uuid'",
        "UPDATE changes SET tag = tag + 1",
        "DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)",
        "DELETE FROM changes WHERE seq = 3",
        "UPDATE changes SET seq = -seq",
    ],
)
async def test_a_place_that_is_not_there_any_more_is_a_reason_to_read_everything(
    engine: PostgresEngine, log: Connection, attack: str
) -> None:
    async with writing(engine) as service:
        await service.create(ANN, "a", **BY)
        known = (await since(log, None)).place
        for name in "bcd":
            await service.create(ANN, name, **BY)
    engine.run(attack)
    news = await since(log, known)
    assert news.whole
    assert [key.name for key in sorted(news.keys, key=lambda key: key.name)] == ["a", "b", "c", "d"]


async def test_a_long_backlog_is_a_whole_reading(
    engine: PostgresEngine, log: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_BACKLOG", 2)
    known = (await since(log, None)).place
    async with writing(engine) as service:
        for name in "abc":
            await service.create(ANN, name, **BY)
    assert (await since(log, known)).whole
    assert (await since(log, Place("another store", 1, 1))).whole
