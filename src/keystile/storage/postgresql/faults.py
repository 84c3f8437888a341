"""What can go wrong with a database, told as ``storage/errors.py`` tells it of a file.

Law: faults in, faults out. ``why`` of each says neither where the database is nor who we are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import errors

from keystile.storage.errors import StoreUnreadable, busy, unreadable
from keystile.storage.postgresql.database import Database

_OURS: Final = (psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
"""Faults of what is asked, not of the database."""
_THEIRS: Final = (errors.InsufficientPrivilege, errors.UndefinedTable, errors.InvalidSchemaName)
_BUSY: Final = (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected, errors.SerializationFailure)


@contextmanager
def told_by(database: Database) -> Iterator[None]:
    """Turn faults of the database, and of the way to it, into a ``StoreError``; bugs of ours stay what they are."""
    try:
        yield
    except _THEIRS as fault:
        raise unreadable(str(database), _first_line(fault)) from fault
    except _OURS:
        raise
    except _BUSY as fault:
        raise busy(str(database), "others have been changing it for too long") from fault
    except psycopg.Error as fault:
        raise _away(database, fault) from fault
    except (OSError, UnicodeError) as fault:
        raise unreadable(str(database), str(fault)) from fault


def _away(database: Database, fault: psycopg.Error) -> StoreUnreadable:
    """``why`` says neither where the database is nor who we are there."""
    said = " ".join(str(fault).split())
    why = "the database cannot be reached" if fault.sqlstate is None else f"the database refuses ({fault.sqlstate})"
    return StoreUnreadable(f"the store {database}: {said}", why)


def _first_line(fault: psycopg.Error) -> str:
    return str(fault).partition("\n")[0]
