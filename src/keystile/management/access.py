"""Who may come in: sign-in, sessions, passwords; with one-time links (``links.py``) and tokens (``tokens.py``).

Law: the rules of coming in, and no HTTP. Secrets are made here, leave once, and are kept as their SHA-256
(``storage/access.py``); passwords are looked at by ``checking.py``. Rules that are broken raise AccessRefused (or
KeyRuleBroken, for e-mail addresses); everything may raise StoreError.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from keystile.keys import facts
from keystile.keys.audit import What
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account
from keystile.keys.service import KeyService
from keystile.keys.store import KeyStore
from keystile.management.checking import Checking
from keystile.management.entry import (
    AccessRefused,
    Identity,
    SignedIn,
    SlowDown,
    csrf_of,
    digest,
    must_be_good,
    must_be_session,
    new_secret,
)
from keystile.management.links import LINK_LIFE, Links
from keystile.management.tokens import SEEN_EVERY, Tokens
from keystile.storage.access import AccessStore, Session
from keystile.storage.attempts import AttemptStore
from keystile.storage.errors import StoreError
from keystile.storage.passwords import Passwords

__all__ = ["LINK_LIFE", "Access", "AccessRefused", "Identity", "SignedIn", "SlowDown"]

log = logging.getLogger(__name__)

LONGEST_SESSION = 30 * 86400.0
"""Seconds after which one signs in again: a stolen session is not for ever, and monthly is no burden."""
IDLE_SESSION = 7 * 86400.0
"""Seconds without use after which a session ends: a browser left behind, but not a long week-end."""
MOST_AHEAD = 86400.0
"""Seconds by which a session may seem to be from the future. Beyond it, the clock was wrong when it was made or is now:
it would last longer than any by as much."""
MOST_SESSIONS = 20
"""Sessions of an account; beyond it the one unused for longest ends."""
_LONGEST_AGENT = 200


class Access(Links, Tokens):
    """The rules of coming in. Make one with ``open``; ``clock`` gives Unix seconds."""

    def __init__(
        self,
        keys: KeyService,
        accounts: KeyStore,
        passwords: Passwords,
        rows: AccessStore,
        store: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        checking = Checking(passwords, AttemptStore(rows.file), clock)
        Tokens.__init__(self, keys, accounts, rows, clock)
        Links.__init__(self, keys, accounts, passwords, rows, checking, store, clock)
        self.sign_ins = 0
        """Sign-ins since the start."""

    @classmethod
    async def open(
        cls,
        store: Path,
        keys: KeyService,
        accounts: KeyStore,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Access:
        """Open what lies beside the store; to be closed with ``close``, which closes ``passwords`` too."""
        passwords = passwords or await Passwords.open(store, clock=clock)
        return cls(keys, accounts, passwords, await AccessStore.open(store), store, clock)

    async def close(self) -> None:
        """Close the files."""
        await self._rows.close()
        await self._passwords.close()

    @property
    def failures(self) -> int:
        """Attempts with a wrong password since the start."""
        return self._checking.failures

    @property
    def slowed(self) -> int:
        """Attempts that were not looked at since the start."""
        return self._checking.slowed

    async def sign_in(
        self, email: str, password: str, address: str, agent: str = "", *, origin: str = ""
    ) -> SignedIn | SlowDown | None:
        """Begin a session; None when e-mail address and password are not right together.

        ``address`` is the client's, ``agent`` what its browser calls itself.
        """
        account, spelled = await self._find(email)
        checked = await self._checking.check(account, spelled, password, address)
        if checked is None or isinstance(checked, SlowDown):
            return checked
        assert account is not None  # or nothing would be its password
        origin = origin or f"page from {address}"
        try:
            await self._keys.note(What.SIGNED_IN, account.email, actor=account.email, origin=origin)
        except KeyRuleBroken:  # deleted since we looked
            return None
        signed_in = await self._begin(account, checked, address, agent)
        self.sign_ins += signed_in is not None
        return signed_in

    async def session(self, secret: str, address: str = "") -> Identity | None:
        """Return whose session this is; None when it is unknown or has ended, or the account is gone."""
        session, now = await self._rows.session(digest(secret)), self._clock()
        if session is None or not _lasts(session, now):
            return None
        account = await self._accounts.account_by_id(session.account_id)
        if account is None:
            return None
        if now - session.seen >= SEEN_EVERY:
            await self._rows.see_session(session.id, now, address or session.address)
        return Identity(account, "session", csrf_of(secret), session.id)

    async def sign_out(self, identity: Identity, *, origin: str = "") -> None:
        """End this session. Raises AccessRefused (session_needed)."""
        must_be_session(identity)
        await self._rows.end_session(identity.id)
        email = identity.account.email
        await self._keys.note(What.SIGNED_OUT, email, actor=email, origin=origin)

    async def sessions(self, account: Account) -> tuple[Session, ...]:
        """Return the account's sessions that last, the last used first."""
        now = self._clock()
        return tuple(each for each in await self._rows.sessions(account.id) if _lasts(each, now))

    async def end_other_sessions(self, identity: Identity, *, origin: str = "") -> int:
        """End all sessions of the account but this one; return how many. Raises AccessRefused (session_needed)."""
        must_be_session(identity)
        ended = await self._rows.end_others(identity.account.id, identity.id)
        email = identity.account.email
        await self._keys.note(What.SIGNED_OUT, email, "everywhere else", actor=email, origin=origin)
        return ended

    async def change_password(
        self,
        identity: Identity,
        current: str,
        new: str,
        address: str,
        agent: str = "",
        *,
        end_tokens: bool = False,
        origin: str = "",
    ) -> SignedIn | SlowDown:
        """Set a new password; every session ends, and a new one begins here: whoever had a copy of it is out.

        ``end_tokens``: management tokens end as well. A session that was stolen must not be a way to guess the
        password, so this counts like signing in. Raises AccessRefused (wrong_password, bad_password, session_needed).
        """
        must_be_session(identity)
        must_be_good(new)
        account = identity.account
        checked = await self._checking.check(account, account.email, current, address)
        if isinstance(checked, SlowDown):
            return checked
        if checked is None:
            raise AccessRefused("wrong_password", "the current password is not right")
        origin = origin or f"page from {address}"
        await self._keys.note_password_set(account.email, actor=account.email, origin=origin)
        if end_tokens:  # before the password: cut off in between, the rest can be done again
            await self._rows.delete_tokens(account.id)
        if not await self._passwords.set_password(account.id, new, version=checked):
            raise AccessRefused("wrong_password", "the password has been changed meanwhile")
        begun = await self._begin(account, checked + 1, address, agent)
        if begun is None:
            raise AccessRefused("wrong_password", "the password has been changed again meanwhile")
        return begun

    async def forget_account(self, account: Account) -> None:
        """Forget all by which a deleted account could come in: password, sessions, links, tokens.

        Where that cannot be written they stay, and open nothing: an account's id is never given again.
        """
        try:
            await self._passwords.delete(account.id)
        except StoreError as error:
            log.warning("what a deleted account signed in with cannot be forgotten: %s", error)

    async def _find(self, email: str) -> tuple[Account | None, str]:
        """The account, and the spelling under which attempts count."""
        try:
            spelled = facts.email(email)
        except KeyRuleBroken:
            return None, email.strip().lower()
        return await self._accounts.account(spelled), spelled

    async def _begin(self, account: Account, version: int, address: str, agent: str) -> SignedIn | None:
        """A session under a new secret, whatever the browser brought along; None if the password is another by now."""
        now, secret = self._clock(), new_secret()
        await self._rows.drop_sessions(now - LONGEST_SESSION, now - IDLE_SESSION)
        session = Session(secrets.token_hex(8), account.id, now, now, address, agent[:_LONGEST_AGENT])
        if not await self._rows.add_session(session, digest(secret), version, MOST_SESSIONS):
            return None
        return SignedIn(secret, Identity(account, "session", csrf_of(secret), session.id))


def _lasts(session: Session, now: float) -> bool:
    return -MOST_AHEAD <= now - session.created < LONGEST_SESSION and now - session.seen < IDLE_SESSION
