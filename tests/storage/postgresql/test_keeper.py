from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from keystile.keys.keyring import Keyring
from keystile.storage.mirrored import MirrorFollower
from keystile.storage.postgresql import keeper as module
from keystile.storage.postgresql.keeper import BOUNDS, Delays, Keeper
from keystile.storage.postgresql.store import PostgresStore
from tests.storage.engines import PostgresEngine
from tests.storage.ground import ANN, BY, admits, writing
from tests.storage.postgres_server import Server


@asynccontextmanager
async def kept(engine: PostgresEngine, path: Path) -> AsyncIterator[tuple[Keeper, MirrorFollower]]:
    """Another host, whose management runs."""
    async with await PostgresStore.open(engine.database, path) as store:
        keeper = Keeper(store)
        task = asyncio.get_running_loop().create_task(keeper.run())
        follower = MirrorFollower(path, Keyring())
        follower.load()
        try:
            await until(lambda: keeper.connected)
            yield keeper, follower
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await keeper.close()
            follower.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what another process writes sets no event
            await asyncio.sleep(0.005)


async def test_another_hosts_changes_are_known_without_being_asked_for(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL", 3600.0)  # nothing but the notification
    async with writing(engine) as service, kept(engine, tmp_path / "two.db") as (keeper, follower):
        created = await service.create(ANN, "main", **BY)
        await until(lambda: admits(follower, created.secret))
        await service.delete(ANN, "main", **BY)
        await until(lambda: not admits(follower, created.secret))
        await until(lambda: sum(keeper.delays.counts) >= 2)
        assert keeper.found_by_polling == 0
        assert keeper.age() < 3600


async def test_a_lost_notification_costs_no_more_than_a_poll(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)
    monkeypatch.setattr(module, "CHANNEL", "where_nobody_speaks")
    async with writing(engine) as service, kept(engine, tmp_path / "two.db") as (keeper, follower):
        created = await service.create(ANN, "main", **BY)
        await until(lambda: admits(follower, created.secret))
        await until(lambda: keeper.found_by_polling > 0)


async def test_a_database_that_goes_away_is_said_once_and_gone_back_to(
    own: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)
    monkeypatch.setattr(module, "RETRY", 0.01)
    engine = PostgresEngine(own.database(), tmp_path / "one.db")
    async with writing(engine) as service, kept(engine, tmp_path / "two.db") as (keeper, follower):
        created = await service.create(ANN, "main", **BY)
        await until(lambda: admits(follower, created.secret))
        with caplog.at_level(logging.WARNING):
            own.stop()
            await until(lambda: not keeper.connected)
            assert admits(follower, created.secret)
            aged = keeper.age()
            await asyncio.sleep(0.2)
            assert keeper.age() > aged
            own.start()
            await until(lambda: keeper.connected)
        said = [record.getMessage() for record in caplog.records if "goes on with the keys" in record.getMessage()]
        assert len(said) == 1
        assert "can be read again" in caplog.text
        await service.delete(ANN, "main", **BY)
        await until(lambda: not admits(follower, created.secret))


async def test_a_fault_of_ours_in_a_look_is_logged_and_the_next_look_comes(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)
    monkeypatch.setattr(module, "RETRY", 0.01)
    async with kept(engine, tmp_path / "two.db") as (keeper, _):
        with monkeypatch.context() as patched:
            patched.setattr(keeper, "_look", None)
            await until(lambda: not keeper.connected)
        await until(lambda: keeper.connected)
    assert "TypeError" in caplog.text


def test_delays_are_counted_in_buckets_of_which_the_last_has_no_bound() -> None:
    delays = Delays()
    for seconds in (0.004, 0.005, 0.006, 1e6):
        delays.note(seconds)
    assert delays.counts[:2] == [2, 1]
    assert delays.counts[len(BOUNDS)] == 1
    assert delays.total == pytest.approx(1e6 + 0.015)
