"""What can go wrong with a store, told in a sentence that an operator can act on.

Law: every fault of the database or the file system that is not a bug of ours leaves this package as one of these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PRIMARY: Final = 0xFF  # of SQLite's extended codes (https://www.sqlite.org/rescode.html)
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class StoreError(Exception):
    """The store cannot be used; the message says which file and why.

    ``why`` is the reason without any path, for those whose business it is not where files lie.
    """

    def __init__(self, message: str, why: str = "it cannot be used") -> None:
        super().__init__(message)
        self.why = why


class StoreUnreadable(StoreError):
    """The file is missing, damaged, full, no store of ours, or of a newer version."""


class StoreMismatch(StoreUnreadable):
    """It is of something else, or of a version that this one cannot work with: waiting for it mends nothing."""


class StoreBusy(StoreError):
    """Others have been writing for longer than we wait."""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn faults of SQLite and of the file system into a ``StoreError``; bugs of ours stay what they are."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except sqlite3.Error as fault:
        if getattr(fault, "sqlite_errorcode", 0) & _PRIMARY in _LOCKED:
            raise busy(path, "another program has kept it locked for too long") from fault
        raise unreadable(path, str(fault)) from fault
    except OSError as fault:
        raise unreadable(path, fault.strerror or str(fault)) from fault


def unreadable(path: Path | str, why: str) -> StoreUnreadable:
    """The error that says so of this file, or of this database."""
    return StoreUnreadable(f"the store {path}: {why}", why)


def mismatch(path: Path | str, why: str) -> StoreMismatch:
    """The error that says so of this file, or of this database."""
    return StoreMismatch(f"the store {path}: {why}", why)


def busy(path: Path | str, why: str) -> StoreBusy:
    """The error that says so of this file, or of this database."""
    return StoreBusy(f"the store {path}: {why}", why)
