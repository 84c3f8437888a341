from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from keystile.storage.errors import StoreBusy, StoreError, StoreUnreadable
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.faults import told_by

DATABASE = Database((("host", "db.example.com"), ("user", "ann"), ("dbname", "keys")))


def told(fault: Exception) -> StoreError:
    with pytest.raises(StoreError) as caught, told_by(DATABASE):
        raise fault
    assert str(caught.value).startswith("the store postgresql://ann@db.example.com/keys: ")
    assert "db.example.com" not in caught.value.why
    return caught.value


@pytest.mark.parametrize(
    "fault", [errors.UniqueViolation("twice"), errors.SyntaxError("at"), psycopg.ProgrammingError("x")]
)
def test_bugs_of_ours_stay_what_they_are(fault: Exception) -> None:
    with pytest.raises(type(fault)), told_by(DATABASE):
        raise fault


def test_what_others_hold_up_is_busy() -> None:
    for fault in (errors.LockNotAvailable("x"), errors.QueryCanceled("x"), errors.DeadlockDetected("x")):
        assert isinstance(told(fault), StoreBusy)


def test_what_is_out_of_reach_is_unreadable_and_why_shows_no_place() -> None:
    away = told(psycopg.OperationalError('connection to "db.example.com" failed:\n\tIs it running?'))
    assert isinstance(away, StoreUnreadable)
    assert away.why == "the database cannot be reached"
    assert "failed: Is it running?" in str(away)
    assert told(errors.DiskFull("no space")).why == "the database refuses (53100)"
    assert told(errors.InsufficientPrivilege("permission denied for schema keystile\nLINE 1")).why == (
        "permission denied for schema keystile"
    )
    assert told(OSError("x")).why == "x"
