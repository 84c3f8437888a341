"""What the service asks of a store. The domain owns this interface; SQLite is one who keeps it.

Law: a store is dumb and atomic. It checks no rule of keys; it keeps what it is told, all of a
transaction or nothing, and makes a finished transaction known to every relay before it says so.

Every account and key is named by its id here; looking up by e-mail address and name is for people.
Every method may raise the store's own error when it cannot be read or written.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from keystile.keys.audit import AuditEvent
from keystile.keys.key import Account, ApiKey

Use = tuple[str, float, str]
UsageSum = tuple[str, int, str, int]
"""A last use: id of the key, Unix seconds, IP address."""


class Reading(Protocol):
    """What can be asked of a transaction (what it has done included) and of the store (what is committed)."""

    async def account(self, email: str) -> Account | None:
        """Return the account with this address in its canonical spelling."""

    async def keys(self, account_id: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of one account, or of all, by e-mail address and name."""

    async def key(self, account_id: str, name: str) -> ApiKey | None:
        """Return the key of that name."""


class Transaction(Reading, Protocol):
    """Changes that count together or not at all. Ids and digests handed in must be new, or known, as said."""

    async def count_keys(self, account_id: str) -> int:
        """Return how many keys the account owns."""

    async def knows_digest(self, digest: bytes) -> bool:
        """Say whether some key has this digest, now or still for the time of an overlap."""

    async def add_account(self, account: Account) -> None:
        """Keep a new account."""

    async def remove_account(self, account_id: str) -> None:
        """Forget an account and its keys."""

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

    async def add_event(self, event: AuditEvent) -> None:
        """Append to the audit table."""


class KeyStore(Reading, Protocol):
    """The store as the service sees it."""

    def change(self) -> AbstractAsyncContextManager[Transaction]:
        """Return one transaction: committed, and known to every relay, when the block has ended.

        One at a time over all processes; a second within the first, in one task, would wait for ever.
        """

    async def accounts(self) -> tuple[Account, ...]:
        """Return all accounts by e-mail address."""

    async def events(self, limit: int = 100, before: int | None = None) -> tuple[AuditEvent, ...]:
        """Return the newest events first; ``before``: only those with a smaller ``seq``."""

    async def record_uses(self, uses: Iterable[Use]) -> None:
        """Keep last uses; older ones than known, and those of keys that are gone, are dropped."""
