"""One-time links: a new password for an account, and the first operator's account where there is none.

Law: the rules of links, and no HTTP. A link is 256 random bits, good for an hour and for once; only its SHA-256 is
kept. Who may ask for one is for the callers: it is an operator's to give.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from keystile.config.page import link_path
from keystile.keys import facts
from keystile.keys.audit import What
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account
from keystile.keys.service import KeyService
from keystile.keys.store import KeyStore
from keystile.management.checking import Checking
from keystile.management.entry import AccessRefused, digest, must_be_good, new_secret
from keystile.storage import setup_link
from keystile.storage.access import AccessStore, Link
from keystile.storage.passwords import Passwords

LINK_LIFE = 3600.0
"""Seconds for which a one-time link is good."""


_ELSEWHERE = (
    "no operator has an account yet: a link for making one was made within the last hour, by another host or on a"
    " terminal; `keystile accounts setup-link` makes another"
)


class Links:
    """Links, over the stores; ``store`` is the path of the key store, beside which the setup link's file lies."""

    def __init__(
        self,
        keys: KeyService,
        accounts: KeyStore,
        passwords: Passwords,
        rows: AccessStore,
        checking: Checking,
        store: Path,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._accounts = accounts
        self._passwords = passwords
        self._rows = rows
        self._checking = checking
        self._store = store
        self._clock = clock

    async def make_link(self, email: str, *, actor: str, origin: str) -> str:
        """Make a link that sets the account's password once, in an hour; an earlier one ends. Return its token.

        Raises KeyRuleBroken (no_such_account).
        """
        account = await self._keys.note(What.PASSWORD_LINK_MADE, email, actor=actor, origin=origin)
        return await self._put(account.id)

    async def make_setup_link(self, *, anew: bool = True) -> str | None:
        """Make a link by which the first operator makes an account, once, in an hour; None when there is one.

        Unless ``anew``, None too where such a link was made before, good still or not.
        """
        if await self._has_operator():
            await self._end_setup()
            return None
        return None if not anew and await self._rows.has_link_of("") else await self._put("")

    async def offer_setup_link(
        self, page: str, stream: TextIO, *, anew: bool = True, shared: bool = False
    ) -> str | None:
        """Make such a link and hand it over: on ``stream``, if that is a terminal, else in a file for its owner alone.

        ``page``: where the page is (``https://keys.example.com``). Return a sentence, without the link, for the log;
        None where there is nothing to offer. ``anew``: as of ``make_setup_link``. ``shared``: other hosts have the same
        accounts, and a link that one of them has made, and somebody may be about to use, stays.
        """
        if shared and anew and not await self._is_in_file() and not await self._has_operator():
            first = await self._put("", unless_there_is_one=True)
            return setup_link.hand_over(self._store, page + link_path(first), stream) if first else _ELSEWHERE
        token = await self.make_setup_link(anew=anew)
        return None if token is None else setup_link.hand_over(self._store, page + link_path(token), stream)

    async def link(self, token: str) -> Link | None:
        """Return what this link is for; None when it is unknown, used or over, or no longer makes sense."""
        link = await self._rows.link(digest(token))
        # Further ahead than twice its life, it was made by a clock that was wrong: it would be good for as much longer.
        if link is None or not 0 < link.expires - self._clock() <= 2 * LINK_LIFE:
            return None
        if link.account_id:
            return link if await self.account_of_link(link) else None
        return None if await self._has_operator() else link

    async def account_of_link(self, link: Link) -> Account | None:
        """Return whose password the link sets; None for the link that makes the first operator."""
        return await self._accounts.account_by_id(link.account_id) if link.account_id else None

    async def use_link(
        self, token: str, password: str, email: str | None = None, *, address: str = "", end_tokens: bool = False
    ) -> Account:
        """Set the password that the link is for; ``email`` is for the first operator's. Return the account.

        Every session of the account ends; with ``end_tokens`` its management tokens too. ``address``, the client's,
        becomes one from where the account may sign in whatever others do. Raises AccessRefused (link_over,
        bad_password) and KeyRuleBroken (bad_email, account_exists).
        """
        link = await self.link(token)
        if link is None:
            raise _over()
        must_be_good(password)
        if end_tokens and link.account_id:
            # Before the password: cut off in between, the link still works and the rest can be done again.
            await self._rows.delete_tokens(link.account_id)
        origin = f"one-time link, from {address or 'unknown'}"
        if link.account_id:
            account = await self._set_password(link, token, password, origin)
        else:
            account = await self._make_operator(token, email or "", password, origin)
        await self._checking.forgive(account)
        await self._checking.know(account, address)
        return account

    async def _set_password(self, link: Link, token: str, password: str, origin: str) -> Account:
        account = await self.account_of_link(link)
        if account is None:
            raise _over()
        await self._keys.note(What.PASSWORD_LINK_USED, account.email, actor=account.email, origin=origin)
        # The link is looked for again by the statement that sets the password, and goes with it: once is once.
        if not await self._passwords.set_password(account.id, password, link=digest(token)):
            raise _over()
        return account

    async def _make_operator(self, token: str, email: str, password: str, origin: str) -> Account:
        """Make the account, then use the link up, then set the password: cut off anywhere, it can be done again.

        An operator without a password is one that was left by such a cut: the link is for that one too.
        """
        by = {"actor": facts.email(email), "origin": origin}
        found = await self._accounts.account(by["actor"])
        if found is not None and not (found.operator and not await self._passwords.has(found.id)):
            raise KeyRuleBroken("account_exists", f"there is already an account {found.email}")
        account = found or await self._keys.create_account(by["actor"], operator=True, **by)
        await self._keys.note_password_set(account.email, **by)
        if not await self._rows.take_link(digest(token)):
            if found is None:
                await self._keys.delete_account(account.email, **by)
            raise _over()
        await self._passwords.set_password(account.id, password)
        await self._end_setup()
        return account

    async def _put(self, account_id: str, *, unless_there_is_one: bool = False) -> str:
        """The token; empty where there is a link already that is good."""
        now, token = self._clock(), new_secret()
        await self._rows.drop_links(now)
        link = Link(account_id, now + LINK_LIFE)
        is_kept = await self._rows.put_link(digest(token), link, now if unless_there_is_one else None)
        return token if is_kept else ""

    async def _has_operator(self) -> bool:
        """Whether somebody can sign in as an operator."""
        operators = [account for account in await self._accounts.accounts() if account.operator]
        return any([await self._passwords.has(account.id) for account in operators])

    async def _is_in_file(self) -> bool:
        """Whether the link that counts is the one in this host's file: then a new one takes nobody's away."""
        token = setup_link.kept(self._store).partition(link_path(""))[2]
        return await self._rows.link(digest(token)) is not None

    async def _end_setup(self) -> None:
        await self._rows.drop_link_of("")
        setup_link.remove(self._store)


def _over() -> AccessRefused:
    return AccessRefused("link_over", "the link has been used, is more than an hour old, or never was one")
