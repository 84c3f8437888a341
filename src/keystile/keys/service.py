"""Every rule of accounts and keys, once: the command line, the page and the API all call this.

Law: this file decides; a ``KeyStore`` keeps. It reads and changes inside one transaction, so a rule that
was checked still holds when it is committed (15 keys are 15, however many ask at once), and the event
that tells of a change is committed with it. Who may do what to whom is for its callers.

``actor`` is who asks ("operator (command line)", or an account's e-mail address), ``origin`` from where.
An account is named by its e-mail address, a key by its account and name. Rules that are broken raise
``KeyRuleBroken``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from keystile.keys import facts
from keystile.keys import secret as secret_text
from keystile.keys.answers import UNCHANGED, Created, Kept, Unchanged
from keystile.keys.audit import AuditEvent, What, differences, facts_of
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account, ApiKey
from keystile.keys.store import KeyStore, Reading, Transaction

__all__ = ["UNCHANGED", "Created", "Kept", "KeyService"]


@dataclass(frozen=True, slots=True)
class _By:
    """Who asks, and from where."""

    actor: str
    origin: str


class KeyService:
    """Accounts and keys by their rules.

    ``clock`` gives Unix seconds; ``per_account`` is how many keys an account may own; ``known_scopes``
    are those that routes use (None: not known, so no warnings).
    """

    def __init__(
        self,
        store: KeyStore,
        clock: Callable[[], float] = time.time,
        per_account: int = 15,
        known_scopes: frozenset[str] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._per_account = per_account
        self._known_scopes = known_scopes

    # Accounts

    async def create_account(self, email: str, operator: bool = False, *, actor: str, origin: str) -> Account:
        """Make an account without a password."""
        account = Account(secrets.token_hex(8), facts.email(email), operator, self._clock())
        async with self._store.change() as tx:
            if await tx.account(account.email):
                raise KeyRuleBroken("account_exists", f"there is already an account {account.email}")
            await tx.add_account(account)
            details = "operator" if operator else ""
            await self._log(tx, What.ACCOUNT_CREATED, account.email, _By(actor, origin), details=details)
        return account

    async def delete_account(self, email: str, *, actor: str, origin: str) -> Account:
        """Delete an account and its keys. Its password lies elsewhere; the caller deletes that."""
        by = _By(actor, origin)
        async with self._store.change() as tx:
            account = await _account(tx, email)
            for key in await tx.keys(account.id):
                await tx.remove_key(key.id)
                await self._log(tx, What.KEY_DELETED, account.email, by, key, "with its account")
            await tx.remove_account(account.id)
            await self._log(tx, What.ACCOUNT_DELETED, account.email, by)
        return account

    async def note_password_set(self, email: str, *, actor: str, origin: str) -> Account:
        """Write into the audit table that the account's password is being set; to be called before it is."""
        async with self._store.change() as tx:
            account = await _account(tx, email)
            await self._log(tx, What.PASSWORD_SET, account.email, _By(actor, origin))
        return account

    async def list_accounts(self) -> tuple[Account, ...]:
        """Return all accounts by e-mail address."""
        return await self._store.accounts()

    async def find_account(self, email: str) -> Account:
        """Return the account with this e-mail address."""
        return await _account(self._store, email)

    # Keys

    async def create(
        self,
        account: str,
        name: str,
        scopes: Iterable[str] = (),
        networks: Iterable[str] = (),
        expires: float | None = None,
        *,
        actor: str,
        origin: str,
    ) -> Created:
        """Make a key, and return it with its secret."""
        text = secret_text.generate()
        draft = self._draft(name, scopes, networks, expires, hint=secret_text.hint(text))
        key = await self._add(account, draft, secret_text.digest(text.encode()), _By(actor, origin))
        return Created(key, text, self._warnings(key))

    async def import_key(
        self,
        account: str,
        name: str,
        digest: str,
        hint: str,
        scopes: Iterable[str] = (),
        networks: Iterable[str] = (),
        expires: float | None = None,
        *,
        actor: str,
        origin: str,
    ) -> Kept:
        """Take over a key issued elsewhere by the SHA-256 of its secret (hexadecimal) and its last five."""
        draft = self._draft(name, scopes, networks, expires, hint=facts.hint(hint), imported=True)
        key = await self._add(account, draft, facts.digest(digest), _By(actor, origin))
        return Kept(key, self._warnings(key))

    async def edit(
        self,
        account: str,
        name: str,
        *,
        new_name: str | None = None,
        scopes: Iterable[str] | None = None,
        networks: Iterable[str] | None = None,
        expires: float | Unchanged | None = UNCHANGED,
        version: int | None = None,
        actor: str,
        origin: str,
    ) -> Kept:
        """Replace what is given of a key, leave the rest; ``conflict`` if it is no longer at ``version``."""
        async with self._store.change() as tx:
            key = await _key(tx, account, name, version)
            edited = replace(
                key,
                name=key.name if new_name is None else facts.name(new_name),
                scopes=key.scopes if scopes is None else facts.scopes(scopes),
                networks=key.networks if networks is None else facts.networks(networks),
                expires=key.expires if expires is UNCHANGED else facts.expiry(expires, self._clock()),
            )
            if edited == key:
                return Kept(self._as_of_now(key), self._warnings(key))
            if edited.name != key.name:
                await _must_be_free(tx, key.account_id, edited.name)
            edited = replace(edited, version=key.version + 1)
            await tx.update_key(edited)
            by, details = _By(actor, origin), differences(key, edited)
            await self._log(tx, What.KEY_EDITED, key.account_email, by, edited, details)
        return Kept(self._as_of_now(edited), self._warnings(edited))

    async def change(
        self,
        account: str,
        name: str,
        overlap: float = 0.0,
        *,
        version: int | None = None,
        actor: str,
        origin: str,
    ) -> Created:
        """Give the key a new secret; the old one goes on working for ``overlap`` seconds.

        A secret that still was in an earlier overlap ends now.
        """
        overlap = facts.overlap(overlap)
        text = secret_text.generate()
        async with self._store.change() as tx:
            key = await _key(tx, account, name, version)
            changed = replace(
                key,
                hint=secret_text.hint(text),
                imported=False,
                version=key.version + 1,
                old_until=self._clock() + overlap if overlap else None,
                old_hint=key.hint if overlap else None,
            )
            await tx.update_key(changed)
            await tx.replace_digest(changed, secret_text.digest(text.encode()))
            details = f"…{key.hint} ends " + (f"after {overlap:.0f} s" if overlap else "at once")
            await self._log(tx, What.KEY_CHANGED, key.account_email, _By(actor, origin), changed, details)
        return Created(changed, text, self._warnings(changed))

    async def delete(self, account: str, name: str, *, version: int | None = None, actor: str, origin: str) -> ApiKey:
        """Delete a key; when this returns, no relay admits it."""
        async with self._store.change() as tx:
            key = await _key(tx, account, name, version)
            await tx.remove_key(key.id)
            await self._log(tx, What.KEY_DELETED, key.account_email, _By(actor, origin), key)
        return key

    async def find_by_name(self, account: str, name: str) -> ApiKey:
        """Return the key."""
        return self._as_of_now(await _key(self._store, account, name, None))

    async def audit_events(self, limit: int = 100, before: int | None = None) -> tuple[AuditEvent, ...]:
        """Return the newest events first; ``before``: only those with a smaller ``seq``."""
        return await self._store.events(limit, before)

    async def list(self, account: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of an account by name, or everybody's by e-mail address and name."""
        owner = None if account is None else (await _account(self._store, account)).id
        return tuple(self._as_of_now(key) for key in await self._store.keys(owner))

    # Parts of the above

    def _draft(
        self,
        name: str,
        scopes: Iterable[str],
        networks: Iterable[str],
        expires: float | None,
        *,
        hint: str,
        imported: bool = False,
    ) -> ApiKey:
        """Return a key that has no owner yet."""
        now = self._clock()
        return ApiKey(
            id=secrets.token_hex(8),
            account_id="",
            account_email="",
            name=facts.name(name),
            hint=hint,
            scopes=facts.scopes(scopes),
            networks=facts.networks(networks),
            expires=facts.expiry(expires, now),
            created=now,
            imported=imported,
        )

    async def _add(self, email: str, draft: ApiKey, digest: bytes, by: _By) -> ApiKey:
        async with self._store.change() as tx:
            account = await _account(tx, email)
            if await tx.count_keys(account.id) >= self._per_account:
                message = f"{account.email} has as many keys as an account may own, {self._per_account}"
                raise KeyRuleBroken("too_many_keys", message)
            await _must_be_free(tx, account.id, draft.name)
            if await tx.knows_digest(digest):
                raise KeyRuleBroken("digest_taken", "there is already a key with this digest")
            key = replace(draft, account_id=account.id, account_email=account.email)
            await tx.add_key(key, digest)
            what = What.KEY_IMPORTED if key.imported else What.KEY_CREATED
            await self._log(tx, what, account.email, by, key, facts_of(key))
        return key

    async def _log(
        self, tx: Transaction, what: What, email: str, by: _By, key: ApiKey | None = None, details: str = ""
    ) -> None:
        event = AuditEvent(self._clock(), by.actor, by.origin, what, email, details=details)
        if key is not None:
            event = replace(event, key_id=key.id, key_name=key.name, key_hint=key.hint)
        await tx.add_event(event)

    def _as_of_now(self, key: ApiKey) -> ApiKey:
        """Leave out an overlap that has ended."""
        if key.old_until is not None and key.old_until <= self._clock():
            return replace(key, old_until=None, old_hint=None)
        return key

    def _warnings(self, key: ApiKey) -> tuple[str, ...]:
        unknown = sorted(key.scopes - self._known_scopes) if self._known_scopes is not None else ()
        warnings = [f"no route uses the scope {scope}" for scope in unknown]
        if key.expires is not None and key.expires <= self._clock():
            warnings.append("the key has expired: until its expiry is edited it is refused")
        return tuple(warnings)


async def _account(store: Reading, email: str) -> Account:
    account = await store.account(facts.email(email))
    if account is None:
        raise KeyRuleBroken("no_such_account", f"there is no account {facts.email(email)}")
    return account


async def _key(store: Reading, email: str, name: str, version: int | None) -> ApiKey:
    account = await _account(store, email)
    key = await store.key(account.id, facts.name(name))
    if key is None:
        raise KeyRuleBroken("no_such_key", f"{account.email} has no key named {facts.name(name)!r}")
    if version is not None and version != key.version:
        message = f"the key has been edited meanwhile: it is at version {key.version}, not {version}"
        raise KeyRuleBroken("conflict", message)
    return key


async def _must_be_free(tx: Transaction, account_id: str, name: str) -> None:
    if await tx.key(account_id, name):
        raise KeyRuleBroken("name_taken", f"the account already has a key named {name!r}")
