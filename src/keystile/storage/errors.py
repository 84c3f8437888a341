"""What can go wrong with a store, told in a sentence that an operator can act on.

Law: every fault of SQLite or the file system that is not a bug of ours leaves this package as one of these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreError(Exception):
    """The store cannot be used; the message says which file and why."""


class StoreUnreadable(StoreError):
    """The file is missing, damaged, locked for too long, no store of ours, or of a newer version."""


class StoreBusy(StoreError):
    """Another process holds the right to change keys for longer than we wait."""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn faults of SQLite and of the file system into ``StoreUnreadable``; bugs of ours stay what they are."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except (sqlite3.Error, OSError) as fault:
        raise StoreUnreadable(f"the store {path}: {fault}") from fault
