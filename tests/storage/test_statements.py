from __future__ import annotations

import re

import pytest

from keystile.storage import statements
from keystile.storage.postgresql.store import PostgresStore
from keystile.storage.sqlite import SqliteStore
from tests.storage.engines import Engine, SqliteEngine

VALUES: dict[str, tuple[object, ...]] = {
    "USED_UNTIL_NOW": ("k",),
    "USED_BEFORE_IT": ("k",),
    "SAW_OLD": ("k", "1.0", "192.0.2.1", 1.0, 1),
    "FORGET_OLD": ("k",),
    "OLD_TLS": (1.0, 5, None),
    "USAGE": ('["k"]', 5),
    "RECENT": ('["k"]', 5),
}


def test_every_statement_is_tried() -> None:
    there = {name for name, value in vars(statements).items() if name.isupper() and isinstance(value, str)}
    assert VALUES.keys() == there


@pytest.mark.parametrize("name", VALUES)
async def test_each_engine_understands_each_statement(engine: Engine, name: str) -> None:
    await (await engine.open()).close()
    of_keys = (SqliteStore if isinstance(engine, SqliteEngine) else PostgresStore).OF_KEYS
    sql = getattr(statements, name).format(of_keys)
    assert re.search(r"\?", sql)
    engine.run(f"EXPLAIN {sql}", VALUES[name])
