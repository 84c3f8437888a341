"""Which engine keeps a store: a file, or a database beside which a host keeps a file of its own.

Law: it chooses and opens. PostgreSQL's side is imported only where a database is named: its driver is an extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keystile.keys.keyring import Keyring
from keystile.storage.access import AccessStore
from keystile.storage.follow import KeyFollower
from keystile.storage.hosts import Host
from keystile.storage.mirrored import MirrorFollower
from keystile.storage.passwords import Passwords
from keystile.storage.postgresql.database import Database
from keystile.storage.sqlite import SqliteStore
from keystile.storage.store import Store

if TYPE_CHECKING:
    from keystile.storage.postgresql.hosts import HostTable
    from keystile.storage.postgresql.keeper import Keeper


async def open_store(path: Path, database: Database | None) -> Store:
    """The store in the file at ``path``, or in a database of which the file keeps the keys. Raises StoreError."""
    if database is None:
        return await SqliteStore.open(path)
    from keystile.storage.postgresql.store import PostgresStore

    return await PostgresStore.open(database, path)


async def open_passwords(path: Path, database: Database | None) -> Passwords:
    """Its passwords. Raises StoreError."""
    if database is None:
        return await Passwords.open(path)
    from keystile.storage.postgresql import store

    return await store.open_passwords(database)


async def open_access(path: Path, database: Database | None) -> AccessStore:
    """Its sessions, links and tokens. Raises StoreError."""
    if database is None:
        return await AccessStore.open(path)
    from keystile.storage.postgresql import store

    return await store.open_access(database)


def open_keeper(store: Store) -> Keeper | None:
    """Who keeps this host's file up to date with a database; None where the store is a file."""
    if isinstance(store, SqliteStore):
        return None
    from keystile.storage.postgresql.keeper import Keeper
    from keystile.storage.postgresql.store import PostgresStore

    assert isinstance(store, PostgresStore)
    return Keeper(store)


def open_hosts(store: Store) -> HostTable | None:
    """The table in which hosts tell of themselves; None where the store is a file."""
    if isinstance(store, SqliteStore):
        return None
    from keystile.storage.postgresql.hosts import HostTable
    from keystile.storage.postgresql.store import PostgresStore

    assert isinstance(store, PostgresStore)
    return HostTable(store)


async def look_at_hosts(database: Database) -> tuple[Host, ...]:
    """Every host of a store in a database. Raises StoreError."""
    from keystile.storage.postgresql.hosts import all_hosts

    return await all_hosts(database)


def follower_of(path: Path, database: Database | None, keyring: Keyring) -> KeyFollower:
    """A relay's side of it. Raises StoreError."""
    return (KeyFollower if database is None else MirrorFollower)(path, keyring)
