"""Rows of the store and values of the domain, in both directions.

Law: this file holds the SQL that reads accounts, keys and events; what changes them is in ``transaction.py``,
and all of SMTP credentials in ``smtp_rows.py``.
"""

from __future__ import annotations

from keystile.keys.audit import AuditEvent, What
from keystile.keys.key import Account, ApiKey
from keystile.keys.networks import Networks
from keystile.keys.scopes import from_text
from keystile.storage.asking import Row
from keystile.storage.smtp_rows import SmtpReading

ACCOUNTS = "SELECT id, email, operator, created FROM accounts"

_DIGESTS = """
    JOIN digests AS d ON d.key_id = k.id AND d.until IS NULL
    LEFT JOIN digests AS o ON o.key_id = k.id AND o.until IS NOT NULL"""

KEYS = f"""SELECT k.id, k.account_id, a.email, k.name, d.hint, k.scopes, k.networks, k.expires, k.created,
    d.imported, k.version, u.at, u.address, o.until, o.hint, w.at, w.address
    FROM keys AS k JOIN accounts AS a ON a.id = k.account_id{_DIGESTS}
    LEFT JOIN last_uses AS u ON u.key_id = k.id LEFT JOIN secret_uses AS w ON w.digest = o.digest AND w.address <> ''"""

# The columns of keys.keyring.KeyRow, in its order.
HELD_KEYS = f"""SELECT k.id, a.email, k.name, k.scopes, k.networks, k.expires, d.digest, o.digest, o.until
    FROM keys AS k JOIN accounts AS a ON a.id = k.account_id{_DIGESTS}"""

EVENTS = """SELECT seq, at, actor, origin, what, account, key_id, key_name, key_hint, details
    FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"""
EVENTS_OF_ACCOUNT = EVENTS.replace("WHERE", "WHERE account = ?3 AND")


def account(row: Row) -> Account:
    """Return the account of a row of ``ACCOUNTS``."""
    return Account(row[0], row[1], bool(row[2]), row[3])


def api_key(row: Row) -> ApiKey:
    """Return the key of a row of ``KEYS``."""
    (key_id, account_id, email, name, hint, scopes, networks, expires, created, imported, *rest) = row
    facts = (from_text(scopes), Networks.from_text(networks), expires, created, bool(imported))
    return ApiKey(key_id, account_id, email, name, hint, *facts, *rest)


def event(row: Row) -> AuditEvent:
    """Return the event of a row of ``EVENTS``."""
    seq, at, actor, origin, what, email, key_id, key_name, key_hint, details = row
    return AuditEvent(at, actor, origin, What(what), email, key_id, key_name, key_hint, details, seq)


class SqlReading(SmtpReading):
    """The questions of ``keys.store.Reading``, asked of one connection."""

    async def account(self, email: str) -> Account | None:
        """Return the account with this address in its canonical spelling."""
        found = await self._connection.ask(f"{ACCOUNTS} WHERE email = ?", (email,))
        return account(found[0]) if found else None

    async def account_by_id(self, account_id: str) -> Account | None:
        """Return the account with this id."""
        found = await self._connection.ask(f"{ACCOUNTS} WHERE id = ?", (account_id,))
        return account(found[0]) if found else None

    async def keys(self, account_id: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of one account, or of all, by e-mail address and name."""
        where, values = ("", ()) if account_id is None else (" WHERE k.account_id = ?", (account_id,))
        found = await self._connection.ask(f"{KEYS}{where} ORDER BY a.email, k.name", values)
        return tuple(map(api_key, found))

    async def key(self, account_id: str, name: str) -> ApiKey | None:
        """Return the key of that name."""
        where = "WHERE k.account_id = ? AND k.name = ?"
        found = await self._connection.ask(f"{KEYS} {where}", (account_id, name))
        return api_key(found[0]) if found else None

    async def key_by_id(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, whoever's it is."""
        found = await self._connection.ask(f"{KEYS} WHERE k.id = ?", (key_id,))
        return api_key(found[0]) if found else None

    async def count_keys(self, account_id: str | None = None) -> int:
        """Return how many keys the account owns, or how many there are; no key is read for it."""
        where, values = ("", ()) if account_id is None else (" WHERE account_id = ?", (account_id,))
        found = await self._connection.ask(f"SELECT count(*) FROM keys{where}", values)
        return int(found[0][0])
