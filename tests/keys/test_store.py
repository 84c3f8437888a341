from __future__ import annotations

from keystile.keys.store import KeyStore, Transaction
from keystile.storage.postgresql.store import PostgresStore
from keystile.storage.sqlite import SqliteStore
from keystile.storage.store import Store
from keystile.storage.transaction import SqlTransaction


def as_store(store: Store) -> KeyStore:
    return store


def as_transaction(transaction: SqlTransaction) -> Transaction:
    return transaction


def test_each_store_has_every_method_of_the_protocols() -> None:
    """That the signatures fit is checked by mypy, in the two functions above."""
    for protocol, kept in ((KeyStore, SqliteStore), (KeyStore, PostgresStore), (Transaction, SqlTransaction)):
        asked = {name for part in protocol.__mro__ for name in vars(part) if not name.startswith("_")}
        assert not [name for name in asked if not hasattr(kept, name)]
