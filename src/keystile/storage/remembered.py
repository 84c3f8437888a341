"""What an API answered to requests with an Idempotency-Key: rows in the passwords' file.

Law: rows and statements, with a bounded life and a bounded number. An answer is kept as its status and a name of
what was made, never as its text, which may hold a secret. Times are Unix seconds; may raise StoreError.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from keystile.storage.access import AccessFile

MOST = 1000
"""Records of an account; beyond it the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """``request``: a digest of what was asked. ``status`` 0: begun, and not known to have ended.

    ``reference``: of what was made; while the status is 0, the host that has begun. ``at``: when, in Unix seconds.
    """

    request: bytes
    status: int
    reference: str
    at: float = field(default=0.0, compare=False)


_GET = "SELECT request, status, reference, at FROM remembered WHERE account_id = ? AND key = ? AND at >= ?"
_PUT = """INSERT INTO remembered (account_id, key, request, status, reference, at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (account_id, key) DO UPDATE
    SET request = excluded.request, status = excluded.status, reference = excluded.reference, at = excluded.at"""
_BEYOND = """DELETE FROM remembered WHERE at < ?1 OR account_id = ?2 AND key NOT IN
    (SELECT key FROM remembered WHERE account_id = ?2 ORDER BY at DESC LIMIT ?3)"""


class RememberedStore:
    """Records by account and key (32 bytes). ``since``: what is older counts as forgotten."""

    def __init__(self, file: AccessFile) -> None:
        self._file = file

    async def get(self, account_id: str, key: bytes, since: float) -> Remembered | None:
        """Return the record."""
        found = await self._file.read(_GET, (account_id, key, since))
        return Remembered(*found[0]) if found else None

    async def claim(
        self, account_id: str, key: bytes, request: bytes, now: float, since: float, host: str = ""
    ) -> Remembered | None:
        """Return the record, or begin one with status 0 and return None: of two at once only one begins."""
        async with self._file.change() as connection:
            found = await connection.ask(_GET, (account_id, key, since))
            if found:
                return Remembered(*found[0])
            await connection.ask(_PUT, (account_id, key, request, 0, host, now))
            await connection.ask(_BEYOND, (since, account_id, MOST))
        return None

    async def put(self, account_id: str, key: bytes, record: Remembered, now: float) -> None:
        """Keep the record in place of an earlier one."""
        values = (account_id, key, record.request, record.status, record.reference, now)
        await self._file.write(_PUT, values)

    async def forget(self, account_id: str, key: bytes) -> None:
        """Forget the record; none is no error."""
        await self._file.write("DELETE FROM remembered WHERE account_id = ? AND key = ?", (account_id, key))
