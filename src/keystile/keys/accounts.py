"""The rules of accounts.

Law: this file decides; a ``KeyStore`` keeps. Passwords, sessions and tokens lie elsewhere: here is only the event
that tells of them. Who may do what to whom is for the callers.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from keystile.keys import facts
from keystile.keys.audit import By, What
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.finding import find_account
from keystile.keys.key import Account
from keystile.keys.store import KeyStore, Transaction


class AccountService:
    """Accounts by their rules. ``clock`` gives Unix seconds."""

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def create_account(self, email: str, operator: bool = False, *, actor: str, origin: str) -> Account:
        """Make an account without a password."""
        account = Account(secrets.token_hex(8), facts.email(email), operator, self._clock())
        async with self._store.change() as tx:
            if await tx.account(account.email):
                raise KeyRuleBroken("account_exists", f"there is already an account {account.email}")
            await tx.add_account(account)
            details = "operator" if operator else ""
            event = By(actor, origin).event(self._clock(), What.ACCOUNT_CREATED, account.email, details=details)
            await tx.add_event(event)
        return account

    async def delete_account(self, email: str, *, actor: str, origin: str) -> Account:
        """Delete an account, its keys and SMTP credentials. What lies elsewhere (password) the caller deletes."""
        by = By(actor, origin)
        async with self._store.change() as tx:
            account = await find_account(tx, email)
            await self._log_deleted_with(tx, account, by)
            await tx.remove_account(account.id)
            await tx.add_event(by.event(self._clock(), What.ACCOUNT_DELETED, account.email))
        return account

    async def note(self, what: What, email: str, details: str = "", *, actor: str, origin: str) -> Account:
        """Write into the audit table that something is being done to an account; to be called before it is.

        For what lies outside of this store: passwords, links, tokens.
        """
        async with self._store.change() as tx:
            account = await find_account(tx, email)
            await tx.add_event(By(actor, origin).event(self._clock(), what, account.email, details=details))
        return account

    async def note_password_set(self, email: str, *, actor: str, origin: str) -> Account:
        """Write into the audit table that the account's password is being set; to be called before it is."""
        return await self.note(What.PASSWORD_SET, email, actor=actor, origin=origin)

    async def list_accounts(self) -> tuple[Account, ...]:
        """Return all accounts by e-mail address."""
        return await self._store.accounts()

    async def find_account(self, email: str) -> Account:
        """Return the account with this e-mail address."""
        return await find_account(self._store, email)

    async def _log_deleted_with(self, tx: Transaction, account: Account, by: By) -> None:
        now, why = self._clock(), "with its account"
        for key in await tx.keys(account.id):
            await tx.remove_key(key.id)
            await tx.add_event(by.event(now, What.KEY_DELETED, account.email, key, why))
        for credential in await tx.smtp_credentials(account.id):
            await tx.remove_smtp_credential(credential.id)
            await tx.add_event(by.event(now, What.SMTP_DELETED, account.email, credential, why))
