from __future__ import annotations

import subprocess
import sys

import pytest

from keystile.keys.keyring import Keyring
from keystile.storage import engines
from keystile.storage.mirrored import MirrorFollower
from keystile.storage.postgresql.keeper import Keeper
from keystile.storage.postgresql.store import PostgresStore
from keystile.storage.sqlite import SqliteStore
from tests.storage.engines import Engine, PostgresEngine


async def test_each_store_is_opened_by_its_engine(engine: Engine) -> None:
    database = engine.database if isinstance(engine, PostgresEngine) else None
    async with await engines.open_store(engine.path, database) as store:
        assert isinstance(store, SqliteStore if database is None else PostgresStore)
        keeper = engines.open_keeper(store)
        assert isinstance(keeper, Keeper) == (database is not None)
        follower = engines.follower_of(engine.path, database, Keyring())
        assert isinstance(follower, MirrorFollower) == (database is not None)
        follower.load()
        assert follower.unreadable_since is None
        follower.close()
    passwords = await engines.open_passwords(engine.path, database)
    access = await engines.open_access(engine.path, database)
    assert not await passwords.any()
    assert await access.session(b"s" * 32) is None
    await passwords.close()
    await access.close()


@pytest.mark.parametrize("module", ["keystile.app", "keystile.storage.engines", "keystile.process.management"])
def test_the_driver_is_not_needed_for_a_store_in_a_file(module: str) -> None:
    code = f"import sys; import {module}; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
