from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from keystile.storage.passwords import passwords_of, prepared
from keystile.storage.postgresql.tables import ACCESS_TABLES, KEYS_TABLES, summed
from tests.storage.engines import PostgresEngine
from tests.storage.ground import writing

NOT_COPIED = {"meta", "changes", "sqlite_sequence", "schema_version", "schema_rule", "hosts"}


async def test_every_table_and_column_of_both_engines_is_known(engine: PostgresEngine, tmp_path: Path) -> None:
    """A migration that adds one must add it here, or a copy would lose it."""
    path = tmp_path / "keystile.db"
    async with writing(path):
        prepared(path)
    for file, tables in ((path, KEYS_TABLES), (passwords_of(path), ACCESS_TABLES)):
        with closing(sqlite3.connect(file)) as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            assert names - NOT_COPIED == {table.name for table in tables}
            for table in tables:
                columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
                assert columns == set(table.columns)
    asked = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'keystile'"
    there = {row for row in engine.run(asked) if row[0] not in NOT_COPIED}
    assert there == {(table.name, column) for table in (*KEYS_TABLES, *ACCESS_TABLES) for column in table.columns}


def test_a_sum_is_of_values_and_their_order_and_not_of_an_engines_types() -> None:
    assert summed([(1, 0.5, b"a", None)]) == summed([(True, 0.5, b"a", None)])
    assert summed([(1,)]) != summed([("1",)])
    assert summed([(1,), (2,)]) != summed([(2,), (1,)])
    assert summed([("a", "b")]) != summed([("a",), ("b",)])
    assert summed([]).rows == 0
