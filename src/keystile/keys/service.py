"""Every rule of keys, once: the command line, the page and the API all call this.

Law: this file decides; a ``KeyStore`` keeps. It reads and changes inside one transaction, so a rule that
was checked still holds when it is committed (15 keys are 15, however many ask at once), and the event
that tells of a change is committed with it. Who may do what to whom is for its callers, but for one thing: a
credential that acts says by ``within`` what it holds, and makes or alters nothing beyond that.

``actor`` is who asks ("operator (command line)", or an account's e-mail address), ``origin`` from where.
An account is named by its e-mail address, a key by its account and its id (``key_id``) or name. Rules that are
broken raise ``KeyRuleBroken``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from keystile.keys import facts
from keystile.keys import secret as secret_text
from keystile.keys.accounts import AccountService
from keystile.keys.answers import UNCHANGED, Created, Kept, Unchanged
from keystile.keys.audit import AuditEvent, By, What, differences, facts_of
from keystile.keys.authority import Authority
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.finding import at_version, find_account, find_key
from keystile.keys.key import ApiKey
from keystile.keys.store import KeyStore, Recent, Transaction, UsageSum

__all__ = ["UNCHANGED", "Created", "Kept", "KeyService"]


_RECENT = 200


class KeyService(AccountService):
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
        super().__init__(store, clock)
        self._per_account = per_account
        self._known_scopes = known_scopes

    # Changes

    async def create(
        self,
        account: str,
        name: str,
        scopes: Iterable[str] = (),
        networks: Iterable[str] = (),
        expires: float | None = None,
        *,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> Created:
        """Make a key, and return it with its secret."""
        text = secret_text.generate()
        draft = self._draft(name, scopes, networks, expires, hint=secret_text.hint(text))
        key = await self._add(account, draft, secret_text.digest(text.encode()), within, By(actor, origin))
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
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> Kept:
        """Take over a key issued elsewhere by the SHA-256 of its secret (hexadecimal) and its last five."""
        draft = self._draft(name, scopes, networks, expires, hint=facts.hint(hint), imported=True)
        key = await self._add(account, draft, facts.digest(digest), within, By(actor, origin))
        return Kept(key, self._warnings(key))

    async def edit(
        self,
        account: str,
        name: str | None = None,
        *,
        key_id: str | None = None,
        new_name: str | None = None,
        scopes: Iterable[str] | None = None,
        networks: Iterable[str] | None = None,
        expires: float | Unchanged | None = UNCHANGED,
        version: int | None = None,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> Kept:
        """Replace what is given of a key, leave the rest; ``conflict`` if it is no longer at ``version``."""
        async with self._store.change() as tx:
            key = await self._found(tx, account, name, key_id, version, within)
            edited = replace(
                key,
                name=key.name if new_name is None else facts.name(new_name),
                scopes=key.scopes if scopes is None else facts.scopes(scopes),
                networks=key.networks if networks is None else facts.networks(networks),
                expires=key.expires if expires is UNCHANGED else facts.expiry(expires, self._clock()),
            )
            if edited == key:
                return Kept(self._as_of_now(key), self._warnings(key))
            if within is not None:
                within.require(edited)
            if edited.name != key.name:
                await _must_be_free(tx, key.account_id, edited.name)
            edited = replace(edited, version=key.version + 1)
            await tx.update_key(edited)
            await self._log(tx, What.KEY_EDITED, edited, By(actor, origin), differences(key, edited))
        return Kept(self._as_of_now(edited), self._warnings(edited))

    async def change(
        self,
        account: str,
        name: str | None = None,
        overlap: float = 0.0,
        *,
        key_id: str | None = None,
        version: int | None = None,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> Created:
        """Give the key a new secret; the old one goes on working for ``overlap`` seconds.

        A secret that still was in an earlier overlap ends now.
        """
        overlap = facts.overlap(overlap)
        text = secret_text.generate()
        async with self._store.change() as tx:
            key = await self._found(tx, account, name, key_id, version, within)
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
            await self._log(tx, What.KEY_CHANGED, changed, By(actor, origin), details)
            changed = await tx.key_by_id(changed.id) or changed  # with the last use of what is the old secret now
        return Created(changed, text, self._warnings(changed))

    async def delete(
        self,
        account: str,
        name: str | None = None,
        *,
        key_id: str | None = None,
        version: int | None = None,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> ApiKey:
        """Delete a key; when this returns, no relay admits it."""
        async with self._store.change() as tx:
            key = await self._found(tx, account, name, key_id, version, within)
            await tx.remove_key(key.id)
            await self._log(tx, What.KEY_DELETED, key, By(actor, origin))
        return key

    async def report_exposed(self, key_id: str) -> bool:
        """Note that the key's secret has crossed the wire in clear; once for each secret, False where it is known.

        Looked for among the account's last ``_RECENT`` events: one told twice is better than a search of them all.
        """
        key = await self._store.key_by_id(key_id)
        if key is None:
            return False
        told = await self._store.events(_RECENT, account=key.account_email)
        if any((one.what, one.key_id, one.key_hint) == (What.KEY_EXPOSED, key.id, key.hint) for one in told):
            return False
        async with self._store.change() as tx:
            here = await tx.key_by_id(key_id)
            if here is None or here.hint != key.hint:
                return False
            await self._log(tx, What.KEY_EXPOSED, here, By("gateway", "a relay"), "came over plain HTTP; change it")
        return True

    # Questions

    async def find(self, account: str, key_id: str) -> ApiKey:
        """Return the account's key with this id."""
        owner = await find_account(self._store, account)
        return self._as_of_now(await find_key(self._store, owner, None, key_id))

    async def find_by_name(self, account: str, name: str) -> ApiKey:
        """Return the account's key of this name."""
        owner = await find_account(self._store, account)
        return self._as_of_now(await find_key(self._store, owner, name, None))

    async def list(self, account: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of an account by name, or everybody's by e-mail address and name."""
        owner = None if account is None else (await find_account(self._store, account)).id
        return tuple(self._as_of_now(key) for key in await self._store.keys(owner))

    async def events(
        self, limit: int = 100, before: int | None = None, account: str | None = None
    ) -> tuple[AuditEvent, ...]:
        """Return the newest events first; ``before``: only those with a smaller ``seq``; of one account."""
        return await self._store.events(limit, before, None if account is None else facts.email(account))

    async def usage(self, account: str, since_hour: int) -> tuple[UsageSum, ...]:
        """Return what was asked with the account's keys, by key and hour, from an hour (since 1970) on."""
        return await self._store.usage_of([key.id for key in await self.list(account)], since_hour)

    async def recent(self, account: str, since_hour: int) -> Mapping[str, Recent]:
        """Return by key id what was asked with the account's keys from an hour on; unused keys are left out."""
        return await self._store.recent([key.id for key in await self.list(account)], since_hour)

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

    async def _add(self, email: str, draft: ApiKey, digest: bytes, within: Authority | None, by: By) -> ApiKey:
        async with self._store.change() as tx:
            account = await find_account(tx, email)
            if within is not None:
                await within.confirm(tx, account, self._clock())
                within.require(draft)
            if await tx.count_keys(account.id) >= self._per_account:
                message = f"{account.email} has as many keys as an account may own, {self._per_account}"
                raise KeyRuleBroken("too_many_keys", message)
            await _must_be_free(tx, account.id, draft.name)
            if await tx.knows_digest(digest):
                raise KeyRuleBroken("digest_taken", "there is already a key with this digest")
            key = replace(draft, account_id=account.id, account_email=account.email)
            await tx.add_key(key, digest)
            await self._log(tx, What.KEY_IMPORTED if key.imported else What.KEY_CREATED, key, by, facts_of(key))
        return key

    async def _found(
        self,
        tx: Transaction,
        email: str,
        name: str | None,
        key_id: str | None,
        version: int | None,
        within: Authority | None,
    ) -> ApiKey:
        """Return the key that is to be altered, by whoever may."""
        account = await find_account(tx, email)
        if within is not None:
            await within.confirm(tx, account, self._clock())
        key = await find_key(tx, account, name, key_id)
        if within is not None:
            within.require(key)
        return at_version(key, version)

    async def _log(self, tx: Transaction, what: What, key: ApiKey, by: By, details: str = "") -> None:
        await tx.add_event(by.event(self._clock(), what, key.account_email, key, details))

    def _as_of_now(self, key: ApiKey) -> ApiKey:
        """Leave out an overlap that has ended."""
        if key.old_until is not None and key.old_until <= self._clock():
            return replace(key, old_until=None, old_hint=None, old_last_used_at=None, old_last_used_from=None)
        return key

    def _warnings(self, key: ApiKey) -> tuple[str, ...]:
        unknown = sorted(key.scopes - self._known_scopes) if self._known_scopes is not None else ()
        warnings = [f"no route uses the scope {scope}" for scope in unknown]
        if key.expires is not None and key.expires <= self._clock():
            warnings.append("the key has expired: until its expiry is edited it is refused")
        return tuple(warnings)


async def _must_be_free(tx: Transaction, account_id: str, name: str) -> None:
    if await tx.key(account_id, name):
        raise KeyRuleBroken("name_taken", f"the account already has a key named {name!r}")
