from __future__ import annotations

import pytest

from keystile.storage.postgresql.placeholders import translated


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1", "SELECT 1"),
        ("a = ? AND b = ?", "a = $1 AND b = $2"),
        ("a = ?2 AND b = ?1", "a = $2 AND b = $1"),
        ("SELECT ?, ? WHERE c = ?2 AND d = ?8 AND e = ?", "SELECT $1, $2 WHERE c = $2 AND d = $8 AND e = $9"),
        ("a = '?' AND b = ?", "a = '?' AND b = $1"),
    ],
)
def test_placeholders_count_as_in_sqlite(sql: str, said: str) -> None:
    assert translated(sql) == said.encode()
