"""Faults of the store, done from outside as accidents and other programs do them.

Law: files and locks; knows nothing of traffic. Each leaves the store as it was.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from keystile.storage.doorbell import doorbell_of

BESIDE = ("", "-wal", "-shm")
"""The database, and what SQLite keeps beside it."""


async def lock(store: Path, seconds: float) -> None:
    """Hold the lock of a writer."""
    await asyncio.to_thread(_lock, store, seconds)


def _lock(store: Path, seconds: float) -> None:
    with closing(sqlite3.connect(store, timeout=10, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            time.sleep(seconds)
        finally:
            other.execute("ROLLBACK")


async def move_away(store: Path, seconds: float) -> None:
    """Move the store's files away, and back. The database goes first and comes last: nobody may open it alone."""
    moved = [(store.with_name(store.name + end), store.with_name(f"moved-{store.name}{end}")) for end in BESIDE]
    there = [(here, aside) for here, aside in moved if here.exists()]
    for here, aside in there:
        here.rename(aside)
    try:
        await asyncio.sleep(seconds)
    finally:
        for here, aside in reversed(there):
            aside.rename(here)


def ring_for_nothing(store: Path) -> None:
    """A count that nobody has caught up with, and nothing behind it."""
    with suppress(FileNotFoundError), doorbell_of(store).open("r+b") as bell:
        bell.write(secrets.randbits(62).to_bytes(8, "little"))


def truncate(store: Path) -> None:
    """A doorbell without its eight bytes, if there is one."""
    with suppress(FileNotFoundError):
        os.truncate(doorbell_of(store), 0)


def remove(store: Path) -> None:
    """No doorbell."""
    doorbell_of(store).unlink(missing_ok=True)


def integrity(store: Path) -> list[str]:
    """What SQLite finds wrong with the store."""
    with closing(sqlite3.connect(store, timeout=10)) as connection:
        try:
            rows = connection.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.DatabaseError as error:
            rows = [(str(error),)]
    return [] if rows == [("ok",)] else [f"the store is damaged: {row[0]}" for row in rows]
