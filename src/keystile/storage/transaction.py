"""One transaction of changes of accounts and keys: the statements that write.

Law: no rule of keys is checked here and nothing is committed here. The change log is written by triggers
(``migrations/0001_keys.sql``), so that no statement can forget it.
"""

from __future__ import annotations

from keystile.keys.audit import AuditEvent
from keystile.keys.key import Account, ApiKey
from keystile.keys.scopes import as_text
from keystile.storage import statements
from keystile.storage.rows import SqlReading
from keystile.storage.smtp_rows import SmtpWriting


class SqlTransaction(SqlReading, SmtpWriting):
    """``keys.store.Transaction`` on a connection that has begun to write."""

    async def knows_digest(self, digest: bytes) -> bool:
        """Say whether some key has this digest, now or still for the time of an overlap."""
        return bool(await self._connection.ask("SELECT 1 FROM digests WHERE digest = ?", (digest,)))

    async def opens(self, key_id: str, digest: bytes, now: float) -> bool:
        """Say whether the digest is the key's current one, or one whose overlap lasts at ``now``."""
        asked = "SELECT 1 FROM digests WHERE digest = ? AND key_id = ? AND (until IS NULL OR until > ?)"
        return bool(await self._connection.ask(asked, (digest, key_id, now)))

    async def add_account(self, account: Account) -> None:
        """Keep a new account."""
        values = (account.id, account.email, account.operator, account.created)
        await self._connection.ask("INSERT INTO accounts (id, email, operator, created) VALUES (?, ?, ?, ?)", values)

    async def remove_account(self, account_id: str) -> None:
        """Forget an account, its keys and its SMTP credentials."""
        await self._connection.ask("DELETE FROM accounts WHERE id = ?", (account_id,))

    async def add_key(self, key: ApiKey, digest: bytes) -> None:
        """Keep a new key."""
        values = (key.id, key.account_id, *_editable(key), key.created)
        await self._connection.ask(
            "INSERT INTO keys (id, account_id, name, scopes, networks, expires, version, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        await self._add_digest(key, digest)

    async def update_key(self, key: ApiKey) -> None:
        """Keep what may be edited of a key: name, scopes, networks, expires, version."""
        await self._connection.ask(
            "UPDATE keys SET name = ?, scopes = ?, networks = ?, expires = ?, version = ? WHERE id = ?",
            (*_editable(key), key.id),
        )

    async def replace_digest(self, key: ApiKey, digest: bytes) -> None:
        """Give the key a new digest; the one until now stays good until ``key.old_until``, if that is set."""
        ask = self._connection.ask
        if key.old_until is None:
            await ask("DELETE FROM digests WHERE key_id = ?", (key.id,))
        else:
            await ask(statements.USED_UNTIL_NOW, (key.id,))
            await ask("DELETE FROM digests WHERE key_id = ? AND until IS NOT NULL", (key.id,))
            await ask("UPDATE digests SET until = ? WHERE key_id = ?", (key.old_until, key.id))
        await self._add_digest(key, digest)
        if key.old_until is None:
            await ask(statements.USED_BEFORE_IT, (key.id,))

    async def remove_key(self, key_id: str) -> None:
        """Forget a key and its digests."""
        await self._connection.ask("DELETE FROM keys WHERE id = ?", (key_id,))

    async def add_event(self, event: AuditEvent) -> None:
        """Append to the audit table."""
        about = (event.account, event.key_id, event.key_name, event.key_hint, event.details)
        await self._connection.ask(
            "INSERT INTO audit (at, actor, origin, what, account, key_id, key_name, key_hint, details)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (event.at, event.actor, event.origin, event.what.value, *about),
        )

    async def _add_digest(self, key: ApiKey, digest: bytes) -> None:
        values = (digest, key.id, key.hint, key.imported)
        await self._connection.ask("INSERT INTO digests (digest, key_id, hint, imported) VALUES (?, ?, ?, ?)", values)


def _editable(key: ApiKey) -> tuple[str, str, str, float | None, int]:
    return key.name, as_text(key.scopes), key.networks.text, key.expires, key.version
