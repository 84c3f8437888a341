"""Bring a database file to the schema this version knows: numbered SQL files, each in one transaction.

Law: this file knows how, not what: the statements stand in ``migrations/``. It is synchronous (it runs in a
thread when a store is opened) and is called under the store's lock, so that two who start at once do not
both do it. ``PRAGMA user_version`` holds the number of the last one, ``application_id`` whose file it is.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from keystile.storage.errors import told, unreadable

BUSY_TIMEOUT = 5.0
"""Seconds that a connection waits for another's transaction."""

# One statement sees one state of the file, whoever is making a store of it at this moment.
_WHOSE = """SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
    (SELECT count(*) FROM sqlite_schema)"""


@dataclass(frozen=True, slots=True)
class Series:
    """The migrations of one kind of file: those whose names begin with ``prefix`` and four digits."""

    application_id: int
    prefix: str

    def scripts(self) -> dict[int, str]:
        """Return the SQL by number, in order."""
        found: dict[int, str] = {}
        for entry in sorted(files("keystile.storage").joinpath("migrations").iterdir(), key=lambda each: each.name):
            number = entry.name.removeprefix(self.prefix)[:4]
            if entry.name.startswith(f"{self.prefix}{number}_") and number.isdigit():
                found[int(number)] = entry.read_text("utf-8")
        return found


STORE = Series(0x4B53544C, "")
PASSWORDS = Series(0x4B535450, "passwords-")


def make_file(path: Path) -> None:
    """Make the file, empty and for its owner alone, unless it is there. Raises StoreUnreadable.

    One that is there is not opened: the close would take away the locks that this process has on it by SQLite
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    if not path.parent.is_dir():
        raise unreadable(path, "its directory does not exist")
    with told(path):
        if path.exists():
            _must_be_usable(path)
        else:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _must_be_usable(path: Path) -> None:
    """Raises OSError where it is no file, or another user's. On a read-only file system it can be read."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.R_OK) or not (os.access(path, os.W_OK) or os.statvfs(path).f_flag & os.ST_RDONLY):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def prepare(path: Path, series: Series, lock: AbstractContextManager[object]) -> None:
    """Bring the file to the newest schema and to WAL; ``lock`` is taken only if there is something to do.

    Raises StoreUnreadable when it is no file of ours, or of a newer version.
    """
    with told(path), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
        if _is_ready(connection, path, series):
            return
        with lock:
            # Another process may have done it while we waited.
            if not _is_ready(connection, path, series):
                _bring_up(connection, series)


def check(connection: sqlite3.Connection, path: Path, series: Series) -> int:
    """Return the schema's number, 0 for a new file; StoreUnreadable for a foreign or a newer one."""
    owner, version, tables = connection.execute(_WHOSE).fetchone()
    if owner != series.application_id:
        if owner or version or tables:
            raise unreadable(path, "this is a database of something else")
        return 0
    newest = max(series.scripts())
    if version > newest:
        raise unreadable(path, f"it is of a newer Keystile: schema {version}; known: {newest}")
    return int(version)


def look_at(path: Path, series: Series) -> int:
    """``check`` without changing anything; 0 where there is no file. Raises StoreUnreadable."""
    if not path.exists():
        return 0
    place = f"{path.absolute().as_uri()}?mode=ro"
    with told(path), closing(sqlite3.connect(place, uri=True, timeout=BUSY_TIMEOUT)) as connection:
        return check(connection, path, series)


def _is_ready(connection: sqlite3.Connection, path: Path, series: Series) -> bool:
    version = check(connection, path, series)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return version == max(series.scripts()) and mode == "wal"


def _bring_up(connection: sqlite3.Connection, series: Series) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in series.scripts().items():
        if number > version:
            _run(connection, number, script, series.application_id)


def _run(connection: sqlite3.Connection, number: int, script: str, application_id: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(script):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()


def statements(script: str) -> Iterator[str]:
    """Yield the statements of a script one by one (``executescript`` would end the transaction)."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""
