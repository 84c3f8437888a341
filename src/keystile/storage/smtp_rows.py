"""The SQL of SMTP credentials, reading and writing.

Law: no rule is checked here, and nothing of this is read by a relay: these tables are no part of ``HELD_KEYS``.
"""

from __future__ import annotations

from keystile.keys.key import SmtpCredential
from keystile.keys.networks import Networks
from keystile.storage.asking import Asking, Row

CREDENTIALS = """SELECT s.id, s.account_id, a.email, s.name, s.hint, s.networks, s.expires, s.created, s.scope,
    s.version, u.at, u.address
    FROM smtp_credentials AS s JOIN accounts AS a ON a.id = s.account_id
    LEFT JOIN smtp_uses AS u ON u.credential_id = s.id"""

USED = """INSERT INTO smtp_uses (credential_id, at, address) SELECT id, ?2, ?3 FROM smtp_credentials WHERE id = ?1
    ON CONFLICT (credential_id) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > smtp_uses.at"""


def smtp_credential(row: Row) -> SmtpCredential:
    """Return the SMTP credential of a row of ``CREDENTIALS``."""
    credential_id, account_id, email, name, hint, networks, expires, created, scope, version, at, address = row
    allowed = Networks.from_text(networks)
    facts = (credential_id, account_id, email, name, hint, allowed, expires, created, scope, version)
    return SmtpCredential(*facts, last_used_at=at, last_used_from=address or None)


class SmtpReading:
    """The questions of ``keys.store.Reading`` about SMTP credentials, asked of one connection."""

    def __init__(self, connection: Asking) -> None:
        self._connection = connection

    async def smtp_credentials(self, account_id: str | None = None) -> tuple[SmtpCredential, ...]:
        """Return the SMTP credentials of one account, or of all, by e-mail address and name."""
        where, values = ("", ()) if account_id is None else (" WHERE s.account_id = ?", (account_id,))
        found = await self._connection.ask(f"{CREDENTIALS}{where} ORDER BY a.email, s.name", values)
        return tuple(map(smtp_credential, found))

    async def smtp_credential(self, account_id: str, name: str) -> SmtpCredential | None:
        """Return the SMTP credential of that name."""
        return await self._one("s.account_id = ? AND s.name = ?", account_id, name)

    async def smtp_credential_by_id(self, credential_id: str) -> SmtpCredential | None:
        """Return the SMTP credential with this id, whoever's it is."""
        return await self._one("s.id = ?", credential_id)

    async def smtp_credential_by_digest(self, digest: bytes) -> SmtpCredential | None:
        """Return the SMTP credential whose secret has this SHA-256."""
        return await self._one("s.digest = ?", digest)

    async def count_smtp_credentials(self, account_id: str | None = None) -> int:
        """Return how many SMTP credentials the account owns, or how many there are."""
        where, values = ("", ()) if account_id is None else (" WHERE account_id = ?", (account_id,))
        found = await self._connection.ask(f"SELECT count(*) FROM smtp_credentials{where}", values)
        return int(found[0][0])

    async def _one(self, where: str, *values: object) -> SmtpCredential | None:
        found = await self._connection.ask(f"{CREDENTIALS} WHERE {where}", values)
        return smtp_credential(found[0]) if found else None


class SmtpWriting:
    """The changes of ``keys.store.Transaction`` about SMTP credentials, on a connection that has begun to write."""

    _connection: Asking

    async def add_smtp_credential(self, credential: SmtpCredential, digest: bytes) -> None:
        """Keep a new SMTP credential."""
        values = (credential.id, credential.account_id, credential.scope, credential.created)
        await self._connection.ask(
            "INSERT INTO smtp_credentials (id, account_id, scope, created, name, hint, networks, expires, version,"
            " digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, *_changeable(credential), digest),
        )

    async def update_smtp_credential(self, credential: SmtpCredential, digest: bytes | None = None) -> None:
        """Keep what may change of it: name, hint, networks, expires, version; and its digest where one is given."""
        await self._connection.ask(
            "UPDATE smtp_credentials SET name = ?, hint = ?, networks = ?, expires = ?, version = ?,"
            " digest = coalesce(?, digest) WHERE id = ?",
            (*_changeable(credential), digest, credential.id),
        )

    async def remove_smtp_credential(self, credential_id: str) -> None:
        """Forget an SMTP credential."""
        await self._connection.ask("DELETE FROM smtp_credentials WHERE id = ?", (credential_id,))


def _changeable(credential: SmtpCredential) -> tuple[str, str, str, float | None, int]:
    return credential.name, credential.hint, credential.networks.text, credential.expires, credential.version
