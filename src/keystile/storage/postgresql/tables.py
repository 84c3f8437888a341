"""The tables of a store, as far as both engines have them, and a digest of what a table holds.

Law: names and values; no connection. The change log and the store's own name (``meta``) are no part of it: another
place has its own. Rows come in the order of the primary key, which both engines sort alike (bytes, not letters).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from keystile.storage.asking import Row


@dataclass(frozen=True, slots=True)
class Table:
    """``columns``, the first ``key`` of which are the primary key; ``flags``: those that say yes or no."""

    name: str
    columns: tuple[str, ...]
    key: int = 1
    flags: frozenset[str] = frozenset()

    @property
    def reading(self) -> str:
        """The statement that reads all of it."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name} ORDER BY {', '.join(self.columns[: self.key])}"

    @property
    def writing(self) -> str:
        """The statement that adds a row; placeholders are SQLite's."""
        places = ", ".join("?" * len(self.columns))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({places})"

    def as_flags(self, row: Row) -> Row:
        """The row with ``True`` and ``False`` where PostgreSQL wants them."""
        pairs = zip(self.columns, row, strict=True)
        return tuple(bool(value) if name in self.flags else value for name, value in pairs)


class Sum(NamedTuple):
    """What a table holds: how many rows, and the SHA-256 of them all."""

    rows: int
    digest: str


def summed(rows: Iterable[Row]) -> Sum:
    """The same for the same rows, whatever engine they come from."""
    found, count = hashlib.sha256(), 0
    for row in rows:
        found.update(json.dumps([_plain(value) for value in row]).encode("ascii") + b"\n")
        count += 1
    return Sum(count, found.hexdigest())


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, bool):
        return int(value)
    return value


def _table(name: str, columns: str, key: int = 1, *flags: str) -> Table:
    return Table(name, tuple(columns.split()), key, frozenset(flags))


KEYS_TABLES = (
    _table("accounts", "id email operator created", 1, "operator"),
    _table("keys", "id account_id name scopes networks expires created version"),
    _table("digests", "digest key_id hint imported until", 1, "imported"),
    _table("last_uses", "key_id at address"),
    _table("secret_uses", "digest at address"),
    _table("usage", "key_id hour refusal requests", 3),
    _table("old_tls", "key_id version address first_at last_at requests", 3),
    _table("smtp_credentials", "id account_id name hint digest scope networks expires created version"),
    _table("smtp_uses", "credential_id at address"),
    _table("audit", "seq at actor origin what account key_id key_name key_hint details"),
)
# Passwords first: a new one ends sessions and links, by a trigger.
ACCESS_TABLES = (
    _table("passwords", "account_id hash changed version"),
    _table("sessions", "digest id account_id created seen address agent"),
    _table("links", "digest account_id expires"),
    _table("tokens", "digest id account_id name hint created expires used used_from"),
    _table("attempts", "name empty until"),
    _table("known_addresses", "account_id network at", 2),
    _table("remembered", "account_id key request status reference at", 2),
)
"""Those that SQLite keeps in the passwords' file."""
