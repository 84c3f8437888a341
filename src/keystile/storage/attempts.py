"""Attempts to sign in that did not succeed, and from where accounts have signed in: rows in the passwords' file.

Law: rows and statements. What an attempt costs is a function handed in (``management/slowdown.py``); here it is
run between reading and writing, inside one transaction, so that parallel attempts are counted one by one.
Times are Unix seconds; every method may raise StoreError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keystile.storage.access import AccessFile
from keystile.storage.asking import Asking

MOST_ROWS = 20_000
"""Rows of attempts: about 2 MB. The mildest are forgotten first, so that a flood of names frees no real target."""
MOST_KNOWN = 20
"""Networks remembered of an account."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """``empty``: when all of them will be forgotten; ``until``: when the next one is looked at."""

    empty: float = 0.0
    until: float = 0.0


Rows = tuple[Attempts, ...]
Step = Callable[[Rows], Rows | None]


class AttemptStore:
    """Attempts by name (32 bytes), and known networks of accounts."""

    def __init__(self, file: AccessFile, most: int = MOST_ROWS) -> None:
        self._file = file
        self._most = most

    async def step(self, names: Sequence[bytes], step: Step, now: float) -> tuple[Rows, Rows | None]:
        """Read these rows, and keep what ``step`` makes of them, unless that is None; return both."""
        async with self._file.change() as connection:
            before = tuple([await _read(connection, name) for name in names])
            after = step(before)
            if after is not None:
                for name, row in zip(names, after, strict=True):
                    await _keep(connection, name, row, now)
                await self._bound(connection, now)
        return before, after

    async def forget(self, name: bytes) -> None:
        """Forget the attempts of this name."""
        await self._file.write("DELETE FROM attempts WHERE name = ?", (name,))

    async def knows(self, account_id: str, network: str, since: float) -> bool:
        """Say whether the account has signed in from this network since then."""
        sql = "SELECT 1 FROM known_addresses WHERE account_id = ? AND network = ? AND at >= ?"
        return bool(await self._file.read(sql, (account_id, network, since)))

    async def know(self, account_id: str, network: str, at: float) -> None:
        """Remember that the account has signed in from this network, and the latest ones only."""
        put = """INSERT INTO known_addresses VALUES (?, ?, ?)
            ON CONFLICT (account_id, network) DO UPDATE SET at = excluded.at"""
        beyond = """DELETE FROM known_addresses WHERE account_id = ?1 AND network NOT IN
            (SELECT network FROM known_addresses WHERE account_id = ?1 ORDER BY at DESC LIMIT ?2)"""
        async with self._file.change() as connection:
            await connection.ask(put, (account_id, network, at))
            await connection.ask(beyond, (account_id, MOST_KNOWN))

    async def _bound(self, connection: Asking, now: float) -> None:
        count = await connection.ask("SELECT count(*) FROM attempts")
        if count[0][0] <= self._most:
            return
        await connection.ask("DELETE FROM attempts WHERE empty <= ?", (now,))
        # A tenth at once, or every attempt from here on would sort them all.
        mildest = "DELETE FROM attempts WHERE name IN (SELECT name FROM attempts ORDER BY empty LIMIT ?)"
        left = (await connection.ask("SELECT count(*) FROM attempts"))[0][0]
        await connection.ask(mildest, (max(0, left - self._most * 9 // 10),))


async def _read(connection: Asking, name: bytes) -> Attempts:
    found = await connection.ask("SELECT empty, until FROM attempts WHERE name = ?", (name,))
    return Attempts(*found[0]) if found else Attempts()


async def _keep(connection: Asking, name: bytes, row: Attempts, now: float) -> None:
    if row.empty <= now:
        await connection.ask("DELETE FROM attempts WHERE name = ?", (name,))
        return
    sql = """INSERT INTO attempts VALUES (?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET empty = excluded.empty, until = excluded.until"""
    await connection.ask(sql, (name, row.empty, row.until))
