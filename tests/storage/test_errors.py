from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from keystile.storage.errors import StoreUnreadable, told

PATH = Path("keystile.db")


@pytest.mark.parametrize(
    "fault", [sqlite3.OperationalError("disk I/O error"), sqlite3.DatabaseError("malformed"), PermissionError("no")]
)
def test_a_fault_of_the_file_is_told_with_its_name(fault: Exception) -> None:
    with pytest.raises(StoreUnreadable, match=r"keystile\.db"), told(PATH):
        raise fault


@pytest.mark.parametrize("bug", [sqlite3.IntegrityError("x"), sqlite3.ProgrammingError("x"), KeyError("x")])
def test_a_bug_of_ours_stays_what_it_is(bug: Exception) -> None:
    with pytest.raises(type(bug)), told(PATH):
        raise bug
