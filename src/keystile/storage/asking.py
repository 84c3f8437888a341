"""What a store asks of a connection, whatever the engine: SQLite's (``connection.py``) or PostgreSQL's.

Law: one shape and no work. SQL is written once for both; its placeholders are SQLite's (``?``, ``?1``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

Row = tuple[Any, ...]


class Asking(Protocol):
    """One connection, made when first used. Faults of the engine are raised as StoreError."""

    @property
    def place(self) -> Path | str:
        """Which store this is, for an error; never a secret."""

    async def ask(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one statement."""

    async def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of the rows."""

    async def begin(self) -> None:
        """Begin to write, as the only one who does."""

    async def commit(self) -> None:
        """Commit; when that fails, nothing of the transaction remains, or nobody can say."""

    async def roll_back(self) -> None:
        """Undo the transaction, if there is one, even when the caller is being cancelled."""

    async def renew(self) -> None:
        """Have a connection that can be used; not for the middle of a transaction."""

    async def close(self) -> None:
        """Close; the next use opens again."""
