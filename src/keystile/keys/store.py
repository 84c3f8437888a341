"""What the services ask of a store. The domain owns this interface; SQLite is one who keeps it.

Law: a store is dumb and atomic. It checks no rule of keys; it keeps what it is told, all of a
transaction or nothing, and makes a finished transaction known to every relay before it says so.

Every account, key and SMTP credential is named by its id here; looking up by e-mail address and name is for
people. Every method may raise the store's own error when it cannot be read or written.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from keystile.keys.audit import AuditEvent
from keystile.keys.key import Account, ApiKey, SmtpCredential

Use = tuple[str, float, str, str]
"""A last use: id of the key, Unix seconds, IP address, and the secret's mark (see ``keys.secret.mark``) or ''."""
UsageSum = tuple[str, int, str, int]
"""Id of the key, hour since 1970 (UTC), why they were refused ('' for those that went on), how many requests."""


OldTls = tuple[str, str, str, float, int]
"""Id of the key, TLS version such as ``1.0``, IP address, Unix seconds of the latest of these requests, how many."""


class OldTlsUse(NamedTuple):
    """Requests with one key over one old TLS version from one address; times are Unix seconds."""

    account_email: str
    key_id: str
    key_name: str
    hint: str
    version: str
    address: str
    first_at: float
    last_at: float
    requests: int


class Recent(NamedTuple):
    """What was asked with a key lately: requests that went on to the upstream, and refused ones."""

    requests: int
    refused: int


class Reading(Protocol):
    """What can be asked of a transaction (what it has done included) and of the store (what is committed)."""

    async def account(self, email: str) -> Account | None:
        """Return the account with this address in its canonical spelling."""

    async def account_by_id(self, account_id: str) -> Account | None:
        """Return the account with this id."""

    async def keys(self, account_id: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of one account, or of all, by e-mail address and name."""

    async def key(self, account_id: str, name: str) -> ApiKey | None:
        """Return the key of that name."""

    async def key_by_id(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, whoever's it is."""

    async def count_keys(self, account_id: str | None = None) -> int:
        """Return how many keys the account owns, or how many there are."""

    async def smtp_credentials(self, account_id: str | None = None) -> tuple[SmtpCredential, ...]:
        """Return the SMTP credentials of one account, or of all, by e-mail address and name."""

    async def smtp_credential(self, account_id: str, name: str) -> SmtpCredential | None:
        """Return the SMTP credential of that name."""

    async def smtp_credential_by_id(self, credential_id: str) -> SmtpCredential | None:
        """Return the SMTP credential with this id, whoever's it is."""

    async def smtp_credential_by_digest(self, digest: bytes) -> SmtpCredential | None:
        """Return the SMTP credential whose secret has this SHA-256."""

    async def count_smtp_credentials(self, account_id: str | None = None) -> int:
        """Return how many SMTP credentials the account owns, or how many there are."""


class Transaction(Reading, Protocol):
    """Changes that count together or not at all. Ids and digests handed in must be new, or known, as said."""

    async def knows_digest(self, digest: bytes) -> bool:
        """Say whether some key has this digest, now or still for the time of an overlap."""

    async def opens(self, key_id: str, digest: bytes, now: float) -> bool:
        """Say whether the digest is the key's current one, or one whose overlap lasts at ``now``."""

    async def add_account(self, account: Account) -> None:
        """Keep a new account."""

    async def remove_account(self, account_id: str) -> None:
        """Forget an account, its keys and its SMTP credentials."""

    async def add_key(self, key: ApiKey, digest: bytes) -> None:
        """Keep a new key."""

    async def update_key(self, key: ApiKey) -> None:
        """Keep what may be edited of a key: name, scopes, networks, expires, version."""

    async def replace_digest(self, key: ApiKey, digest: bytes) -> None:
        """Give the key a new current digest, with ``key.hint`` and ``key.imported``.

        The digest until now stays good until ``key.old_until`` where that is set, else it is forgotten;
        an older one that still was in its overlap is forgotten in any case.
        """

    async def remove_key(self, key_id: str) -> None:
        """Forget a key and its digests."""

    async def add_smtp_credential(self, credential: SmtpCredential, digest: bytes) -> None:
        """Keep a new SMTP credential."""

    async def update_smtp_credential(self, credential: SmtpCredential, digest: bytes | None = None) -> None:
        """Keep what may change of it: name, hint, networks, expires, version; and its digest where one is given."""

    async def remove_smtp_credential(self, credential_id: str) -> None:
        """Forget an SMTP credential."""

    async def add_event(self, event: AuditEvent) -> None:
        """Append to the audit table."""


class KeyStore(Reading, Protocol):
    """The store as the services see it."""

    def change(self) -> AbstractAsyncContextManager[Transaction]:
        """Return one transaction: committed, and known to every relay, when the block has ended.

        One at a time over all processes; a second within the first, in one task, would wait for ever.
        """

    async def accounts(self) -> tuple[Account, ...]:
        """Return all accounts by e-mail address."""

    async def keys_by_account(self) -> dict[str, int]:
        """Return how many keys each account owns, by the account's id; those without any are left out."""

    async def events(
        self, limit: int = 100, before: int | None = None, account: str | None = None
    ) -> tuple[AuditEvent, ...]:
        """Return the newest events first; ``before``: only those with a smaller ``seq``; of one e-mail address."""

    async def record_uses(self, uses: Iterable[Use]) -> None:
        """Keep last uses; older ones than known, and those of keys that are gone, are dropped."""

    async def record_smtp_use(self, credential_id: str, at: float, address: str) -> None:
        """Keep the last use of an SMTP credential, as ``record_uses`` does; a failure is logged and no error."""

    async def record_old_tls(self, seen: Iterable[OldTls]) -> None:
        """Add up who calls over old TLS versions; of each key only the addresses seen latest are kept."""

    async def old_tls(self, since: float, limit: int, account_id: str | None = None) -> tuple[OldTlsUse, ...]:
        """Return who has called over old TLS versions since a moment, the latest first; of one account, or all."""

    async def usage_of(self, key_ids: Iterable[str], since_hour: int) -> tuple[UsageSum, ...]:
        """Return the sums of these keys from an hour (since 1970) on, by key and hour."""

    async def recent(self, key_ids: Iterable[str], since_hour: int) -> dict[str, Recent]:
        """Return for each of these keys what was asked with it from an hour on; unused ones are left out."""
