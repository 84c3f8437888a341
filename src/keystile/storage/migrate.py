"""Bring a database file to the schema this version knows: numbered SQL files, each in one transaction.

Law: this file knows how, not what: the statements stand in ``migrations/``. It is synchronous (it runs in a
thread when a store is opened) and is called under the store's lock, so that two who start at once do not
both do it. ``PRAGMA user_version`` holds the number of the last one, ``application_id`` whose file it is.

The rule of every series (PostgreSQL's too): programs of two versions work on one store for a while. Old relays finish
their requests when a new management has brought the store up (``keystile upgrade``), and of several hosts one is first.
So a script says in its first line how old a program may be that goes on working with what it leaves:

    -- For programs that know schema 4 or later.

that is, whose own last script is number 4. Such a script only adds (tables, columns that may be left out, indexes); its
number without the line means that no older program can. What breaks an older one takes two releases: the first adds the
new beside the old, writes both and reads what is there; the second, whose script says so, takes the old away. Never the
second before every program is of the first: PostgreSQL's series asks which hosts are there, and ``keystile upgrade``
asks the files (``must_let_go_on``).
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from keystile.storage.errors import mismatch, told, unreadable

BUSY_TIMEOUT = 5.0
"""Seconds that a connection waits for another's transaction."""

# One statement sees one state of the file, whoever is making a store of it at this moment.
_WHOSE = """SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
    (SELECT count(*) FROM sqlite_schema)"""
# Where there is none, what the file's own number says is meant.
_RULE = "schema_rule"
_HAS_RULE = f"SELECT 1 FROM sqlite_schema WHERE name = '{_RULE}'"
_FOR: Final = re.compile(r"-- For programs that know schema ([0-9]+) or later\.\n")


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

    @property
    def newest(self) -> int:
        """The schema that this program knows."""
        return max(self.scripts())

    def oldest_after(self, version: int, oldest: int) -> int:
        """How old a program may be once a store of schema ``version``, which was for ``oldest``, is brought up."""
        return max([oldest, *(oldest_for(*each) for each in self.scripts().items() if each[0] > version)])


def oldest_for(number: int, script: str) -> int:
    """The schema that a program must know, at least, to go on working with what script ``number`` leaves."""
    said = _FOR.match(script)
    return number if said is None else int(said[1])


def must_be_for(place: Path | str, version: int, oldest: int, known: int) -> None:
    """Raise StoreMismatch where a store of schema ``version`` is not for a program that knows ``known``."""
    if version > known and oldest > known:
        later = f", for programs that know {oldest} or later" if oldest < version else ""
        raise mismatch(place, f"it is of a newer Keystile: schema {version}{later}; known: {known}")


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

    Raises StoreUnreadable when it is no file of ours, or of a newer version and not for this one.
    """
    with told(path), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
        if _is_ready(connection, path, series):
            return
        with lock:
            # Another process may have done it while we waited.
            if not _is_ready(connection, path, series):
                _bring_up(connection, series)


def check(connection: sqlite3.Connection, path: Path, series: Series) -> int:
    """Return the schema's number, 0 for a new file. Raises StoreMismatch for a foreign one, or one not for us."""
    owner, version, tables = connection.execute(_WHOSE).fetchone()
    if owner != series.application_id:
        if owner or version or tables:
            raise mismatch(path, "this is a database of something else")
        return 0
    if version > series.newest:
        must_be_for(path, version, _oldest(connection, version), series.newest)
    return int(version)


def must_let_go_on(path: Path, series: Series) -> None:
    """Raise StoreMismatch where bringing the file up would leave those who have it open with what is not for them.

    They are of the version that it is of, or can go on with it already.
    """
    version = look_at(path, series)
    needed = series.oldest_after(version, 0)
    if version and needed > version:
        raise mismatch(path, f"schema {series.newest} is not for what runs, which knows {version}; stop it, then start")


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
    return version >= series.newest and mode == "wal"


def _bring_up(connection: sqlite3.Connection, series: Series) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    oldest = _oldest(connection, version)
    for number, script in series.scripts().items():
        if number > version:
            oldest = max(oldest, oldest_for(number, script))
            _run(connection, number, script, oldest, series.application_id)


def _oldest(connection: sqlite3.Connection, version: int) -> int:
    """How old a program the file is for."""
    if not connection.execute(_HAS_RULE).fetchone():
        return version
    return int(connection.execute(f"SELECT oldest FROM {_RULE}").fetchone()[0])


def _run(connection: sqlite3.Connection, number: int, script: str, oldest: int, application_id: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(script):
            connection.execute(statement)
        connection.execute(f"DROP TABLE IF EXISTS {_RULE}")
        if oldest < number:
            connection.execute(f"CREATE TABLE {_RULE} AS SELECT {oldest} AS oldest")
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
