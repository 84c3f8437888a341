"""A copy of the store and of its passwords, each as it was at one moment, while others write.

Law: only reads what it copies. What it has not finished lies in a folder of its own beside its name, for its owner
alone; under its name stands a whole and examined file, or nothing.

Both moments lie within one hold of the bell's lock. Whoever makes or deletes an account commits it to the store under
that lock, and writes or forgets its password afterwards; so a password of an account that is not in the copy of the
store is one that is being forgotten (its id is never given again), and an account without its password is one that
gets it in this moment: both are as if the power had been cut here, and harmless. The lock is given back before the
first page is copied: in WAL a reader has its moment for as long as it wants, and stops nobody.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from keystile.storage import migrate
from keystile.storage.doorbell import LOCK_TIMEOUT, Doorbell
from keystile.storage.errors import StoreError, told, unreadable
from keystile.storage.passwords import passwords_of


class BackupRefused(StoreError):
    """The copy would take the place of something that is to stay; the message names it."""


def in_a_database(url: str) -> BackupRefused:
    """The refusal of a store that is in a database: what copies that is its own program, at one moment too."""
    how = f"pg_dump --format=custom --schema=keystile --file=keystile.dump {url}"
    return BackupRefused(f"the store is in a database; copy it with: {how}", "the store is in a database")


@dataclass(frozen=True, slots=True)
class Backup:
    """Where the two copies lie, and what is in them."""

    store: Path
    passwords: Path
    accounts: int
    keys: int
    size: int


def back_up(store: Path, into: Path, *, force: bool = False) -> Backup:
    """Copy the store at ``store`` and its passwords to ``into``: a folder, or the name of the store's copy.

    ``force``: in place of what lies there. Raises BackupRefused, or StoreError.
    """
    target = into / store.name if into.is_dir() else into
    targets = (target, passwords_of(target))
    sources = (store, passwords_of(store))
    with told(target):
        _may_be_written(sources, targets, force)
        with _workshop(target) as folder:
            made = [folder / each.name for each in targets]
            _copy(store, sources, made)
            accounts, keys = _examined(made)
            size = sum(each.stat().st_size for each in made)
            # The passwords first: where the store's copy lies, the backup is whole.
            for copy, place in reversed(list(zip(made, targets, strict=True))):
                for ending in ("-wal", "-shm"):  # of what was there: with another file they are poison
                    place.with_name(place.name + ending).unlink(missing_ok=True)
                os.replace(copy, place)
            _to_disk(target.parent)
    return Backup(*targets, accounts, keys, size)


def _may_be_written(sources: tuple[Path, ...], targets: tuple[Path, ...], force: bool) -> None:
    for target in targets:
        if any(target.resolve() == source.resolve() for source in sources):
            raise BackupRefused(f"{target} is what is to be copied; name another place", "it is the store itself")
        if target.exists() and not force:
            raise BackupRefused(f"{target} is there already; name another, or say --force", "it is there already")


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A folder for what is not finished. What one that was killed has left in it is thrown away."""
    folder = target.with_name(f".{target.name}.unfinished")
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise BackupRefused(f"{folder} is somebody else's, or open to others", "its place is not ours alone")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _empty(folder)
        try:
            yield folder
        finally:
            _empty(folder)
            folder.rmdir()
    except BlockingIOError:
        raise BackupRefused(f"another backup to {target} has not ended", "another has not ended") from None
    finally:
        os.close(fd)


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        left.unlink()


def _copy(store: Path, sources: tuple[Path, ...], made: list[Path]) -> None:
    series = (migrate.STORE, migrate.PASSWORDS)
    with ExitStack() as open_ones:
        connections = [open_ones.enter_context(closing(_opened(source))) for source in sources]
        with told(store):
            bell = open_ones.enter_context(closing(Doorbell(store)))
        with bell.locked(LOCK_TIMEOUT):
            for connection, source, kind in zip(connections, sources, series, strict=True):
                with told(source):
                    connection.execute("BEGIN")  # the first look fixes the moment
                    if migrate.check(connection, source, kind) == 0:
                        raise unreadable(source, "it is empty")
        for connection, copy in zip(connections, made, strict=True):
            _write(connection, copy)


def _opened(source: Path) -> sqlite3.Connection:
    with told(source):
        os.stat(source)  # SQLite says of a missing file only that it cannot open it
        uri = f"{source.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=migrate.BUSY_TIMEOUT)


def _write(connection: sqlite3.Connection, copy: Path) -> None:
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(copy, isolation_level=None)) as target:
        # What is cut short is thrown away: it needs no journal.
        target.execute("PRAGMA journal_mode = OFF")
        target.execute("PRAGMA synchronous = OFF")
        with told(copy):
            connection.backup(target)
        connection.execute("ROLLBACK")


def _examined(made: list[Path]) -> tuple[int, int]:
    """How many accounts and keys there are. Raises StoreUnreadable for a copy that is not sound."""
    for copy in made:
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            [(verdict, *_), *_] = connection.execute("PRAGMA integrity_check").fetchall()
            lost = connection.execute("PRAGMA foreign_key_check").fetchall()
            if verdict != "ok" or lost:
                why = verdict if verdict != "ok" else f"{len(lost)} rows belong to nothing"
                raise unreadable(copy, f"the copy is not sound, so the store may be damaged: {why}")
        _to_disk(copy)
    with closing(sqlite3.connect(made[0], isolation_level=None)) as connection:
        counted = connection.execute("SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM keys)").fetchone()
    return int(counted[0]), int(counted[1])


def _to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
