"""Management tokens, and answers that an API repeats: what programs come in with and rely on.

Law: the rules of both, and no HTTP. A token is ``kst_`` and 64 hexadecimal characters, shown once; then its last
five. A token makes no credential and ends none but itself: what somebody does with a stolen one ends with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from keystile.keys import facts
from keystile.keys.audit import What
from keystile.keys.key import Account
from keystile.keys.service import KeyService
from keystile.keys.store import KeyStore
from keystile.management.entry import AccessRefused, Identity, digest, must_be_session, new_secret
from keystile.storage.access import AccessStore, ManagementToken
from keystile.storage.remembered import Remembered, RememberedStore

__all__ = ["MOST_TOKENS", "PREFIX", "REMEMBERED_FOR", "SEEN_EVERY", "Tokens", "must_be_session"]

PREFIX = "kst_"
"""What a token begins with, so that people and scanners know one when they see it."""
MOST_TOKENS = 15
"""Tokens of an account, as many as keys."""
SEEN_EVERY = 60.0
"""Seconds between two notes of when a session or a token was last used: a write for each request is too many."""
REMEMBERED_FOR = 86400.0
"""Seconds for which an answer to a request with an Idempotency-Key is repeated."""


ANSWERED_WITHIN = 30.0
"""Seconds that another host has for what it has begun: longer than it may wait for its turn in the database, and for
what it asks there. Beyond it, it has died."""


class Tokens:
    """Tokens and remembered answers, over the stores and the key service; ``clock`` gives Unix seconds."""

    def __init__(self, keys: KeyService, accounts: KeyStore, rows: AccessStore, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._accounts = accounts
        self._rows = rows
        self._clock = clock
        self._remembered = RememberedStore(rows.file)
        self.host = ""
        """This host's id, where others share the store: who has begun to answer."""

    async def token(self, secret: str, address: str = "") -> Identity | None:
        """Return whose token this is; None when it is unknown, has expired, or its account is gone."""
        if not secret.startswith(PREFIX):
            return None
        token, now = await self._rows.token(digest(secret)), self._clock()
        if token is None or (token.expires is not None and token.expires <= now):
            return None
        account = await self._accounts.account_by_id(token.account_id)
        if account is None:
            return None
        if token.used_at is None or now - token.used_at >= SEEN_EVERY or token.used_from != address:
            await self._rows.use_token(token.id, now, address)
        return Identity(account, "token", "", token.id, token.expires)

    async def create_token(
        self, identity: Identity, name: str, expires: float | None = None, *, actor: str, origin: str
    ) -> tuple[ManagementToken, str]:
        """Make a token for whoever has signed in; return it and its secret. ``expires``: Unix seconds.

        Raises AccessRefused (session_needed, too_many_tokens) and KeyRuleBroken (bad_name, expiry …).
        """
        must_be_session(identity)
        now, secret = self._clock(), new_secret(PREFIX)
        values = (facts.name(name), secret[-5:], now, facts.expiry(expires, now))
        token = ManagementToken(secrets.token_hex(8), identity.account.id, *values)
        if len(await self.tokens(identity.account)) >= MOST_TOKENS:
            raise _too_many()
        await self._keys.note(
            What.TOKEN_CREATED, identity.account.email, f"{token.name} …{token.hint}", actor=actor, origin=origin
        )
        if not await self._rows.add_token(token, digest(secret), MOST_TOKENS):
            raise _too_many()
        return token, secret

    async def tokens(self, account: Account) -> tuple[ManagementToken, ...]:
        """Return the account's tokens, the newest first; expired ones among them."""
        return await self._rows.tokens(account.id)

    async def delete_token(self, identity: Identity, token_id: str, *, actor: str, origin: str) -> ManagementToken:
        """End a token of one's own. Raises AccessRefused (session_needed, no_such_token)."""
        if identity.id != token_id:
            must_be_session(identity)
        found = [token for token in await self.tokens(identity.account) if token.id == token_id]
        if not found or not await self._rows.delete_token(identity.account.id, token_id):
            raise AccessRefused("no_such_token", "there is no such token")
        details = f"{found[0].name} …{found[0].hint}"
        await self._keys.note(What.TOKEN_DELETED, identity.account.email, details, actor=actor, origin=origin)
        return found[0]

    # Answers to repeat

    async def claim(self, account_id: str, key: str, request: bytes) -> Remembered | None:
        """Return what was answered to this Idempotency-Key, or begin to answer (status 0) and return None.

        ``request``: a digest of what is asked. Of two at once only one begins. Whoever has begun ends it with
        ``remember``, or with ``forget`` when nothing was done; a record that stays at 0 was cut short.
        """
        now = self._clock()
        return await self._remembered.claim(account_id, digest(key), request, now, now - REMEMBERED_FOR, self.host)

    def is_being_answered(self, known: Remembered) -> bool:
        """Whether another host may still be at what it has begun; of this one, its process knows."""
        is_begun = not known.status and known.reference != self.host
        return is_begun and abs(self._clock() - known.at) < ANSWERED_WITHIN

    async def recall(self, account_id: str, key: str) -> Remembered | None:
        """Return what was answered to this Idempotency-Key in the last 24 hours."""
        return await self._remembered.get(account_id, digest(key), self._clock() - REMEMBERED_FOR)

    async def remember(self, account_id: str, key: str, request: bytes, status: int, reference: str) -> None:
        """Keep what was answered: its status, and a name of what was made (never a secret)."""
        record = Remembered(request, status, reference)
        await self._remembered.put(account_id, digest(key), record, self._clock())

    async def forget(self, account_id: str, key: str) -> None:
        """Forget the record, since nothing was done."""
        await self._remembered.forget(account_id, digest(key))


def _too_many() -> AccessRefused:
    return AccessRefused("too_many_tokens", f"an account has at most {MOST_TOKENS} management tokens")
