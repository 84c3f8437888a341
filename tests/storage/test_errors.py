from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keystile.storage.errors import StoreBusy, StoreUnreadable, told

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


def test_the_reason_alone_names_no_path(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable) as told_of, told(tmp_path / "keystile.db"):
        (tmp_path / "nowhere" / "keystile.db").read_bytes()
    assert told_of.value.why == "No such file or directory"
    assert str(told_of.value) == f"the store {tmp_path / 'keystile.db'}: No such file or directory"


def test_a_lock_that_another_program_keeps_is_no_damage(tmp_path: Path) -> None:
    file = tmp_path / "keystile.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as one, closing(sqlite3.connect(file, timeout=0)) as two:
        one.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy, match="another program has kept it locked"), told(file):
            two.execute("BEGIN IMMEDIATE")
