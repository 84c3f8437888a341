"""The rules of SMTP credentials: what the mail relay asks for, and an API call never.

Law: as in ``service.py``: this file decides inside one transaction, a ``KeyStore`` keeps, and who may do what is
for the callers, but for ``within``. The facts of an SMTP credential and of a key are of one kind; their stores,
their counts and their secrets are apart, so that neither can pass for the other.

An account is named by its e-mail address, a credential by its account and its id (``credential_id``) or name.
Rules that are broken raise ``KeyRuleBroken``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hmac import compare_digest

from keystile.keys import facts
from keystile.keys import secret as secret_text
from keystile.keys.answers import UNCHANGED, Unchanged
from keystile.keys.audit import By, What, differences, facts_of
from keystile.keys.authority import Authority
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.finding import at_version, find_account, find_smtp
from keystile.keys.key import SEND_SMTP, SmtpCredential
from keystile.keys.networks import Address, unmapped
from keystile.keys.store import KeyStore, Transaction

__all__ = ["SEND_SMTP", "UNCHANGED", "SmtpCreated", "SmtpCredential", "SmtpService"]


@dataclass(frozen=True, slots=True)
class SmtpCreated:
    """An SMTP credential with its secret, the only time it can be seen."""

    credential: SmtpCredential
    secret: str = field(repr=False)


class SmtpService:
    """SMTP credentials by their rules.

    ``clock`` gives Unix seconds; ``per_account`` is how many an account may own, keys not counted.
    """

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time.time, per_account: int = 15) -> None:
        self._store = store
        self._clock = clock
        self._per_account = per_account

    async def create(
        self,
        account: str,
        name: str,
        networks: Iterable[str] = (),
        expires: float | None = None,
        *,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> SmtpCreated:
        """Make an SMTP credential, and return it with its secret. A key that acts needs SendSmtp itself."""
        text = secret_text.generate()
        draft = self._draft(name, networks, expires, secret_text.hint(text))
        async with self._store.change() as tx:
            owner = await find_account(tx, account)
            if within is not None:
                await within.confirm(tx, owner, self._clock())
                within.require(draft)
            if await tx.count_smtp_credentials(owner.id) >= self._per_account:
                message = f"{owner.email} has as many SMTP credentials as an account may own, {self._per_account}"
                raise KeyRuleBroken("too_many_credentials", message)
            await _must_be_free(tx, owner.id, draft.name)
            made = replace(draft, account_id=owner.id, account_email=owner.email)
            await tx.add_smtp_credential(made, secret_text.digest(text.encode()))
            await self._log(tx, What.SMTP_CREATED, made, By(actor, origin), facts_of(made))
        return SmtpCreated(made, text)

    async def edit(
        self,
        account: str,
        name: str | None = None,
        *,
        credential_id: str | None = None,
        new_name: str | None = None,
        networks: Iterable[str] | None = None,
        expires: float | Unchanged | None = UNCHANGED,
        version: int | None = None,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> SmtpCredential:
        """Replace what is given, leave the rest; ``conflict`` if it is no longer at ``version``."""
        async with self._store.change() as tx:
            found = await self._found(tx, account, name, credential_id, version, within)
            edited = replace(
                found,
                name=found.name if new_name is None else facts.smtp_name(new_name),
                networks=found.networks if networks is None else facts.networks(networks),
                expires=found.expires if expires is UNCHANGED else facts.expiry(expires, self._clock()),
            )
            if edited == found:
                return found
            if within is not None:
                within.require(edited)
            if edited.name != found.name:
                await _must_be_free(tx, found.account_id, edited.name)
            edited = replace(edited, version=found.version + 1)
            await tx.update_smtp_credential(edited)
            await self._log(tx, What.SMTP_EDITED, edited, By(actor, origin), differences(found, edited))
        return edited

    async def change(
        self,
        account: str,
        name: str | None = None,
        *,
        credential_id: str | None = None,
        version: int | None = None,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> SmtpCreated:
        """Give it a new secret; the old one ends at once."""
        text = secret_text.generate()
        async with self._store.change() as tx:
            found = await self._found(tx, account, name, credential_id, version, within)
            changed = replace(found, hint=secret_text.hint(text), version=found.version + 1)
            await tx.update_smtp_credential(changed, secret_text.digest(text.encode()))
            await self._log(tx, What.SMTP_CHANGED, changed, By(actor, origin), f"…{found.hint} ends at once")
        return SmtpCreated(changed, text)

    async def delete(
        self,
        account: str,
        name: str | None = None,
        *,
        credential_id: str | None = None,
        version: int | None = None,
        within: Authority | None = None,
        actor: str,
        origin: str,
    ) -> SmtpCredential:
        """Delete it; when this returns, ``verify`` knows it no more."""
        async with self._store.change() as tx:
            found = await self._found(tx, account, name, credential_id, version, within)
            await tx.remove_smtp_credential(found.id)
            await self._log(tx, What.SMTP_DELETED, found, By(actor, origin))
        return found

    async def find(self, account: str, credential_id: str) -> SmtpCredential:
        """Return the account's SMTP credential with this id."""
        return await find_smtp(self._store, await find_account(self._store, account), None, credential_id)

    async def find_by_name(self, account: str, name: str) -> SmtpCredential:
        """Return the account's SMTP credential of this name."""
        return await find_smtp(self._store, await find_account(self._store, account), name, None)

    async def list(self, account: str | None = None) -> tuple[SmtpCredential, ...]:
        """Return the SMTP credentials of an account by name, or everybody's by e-mail address and name."""
        owner = None if account is None else (await find_account(self._store, account)).id
        return await self._store.smtp_credentials(owner)

    async def verify(self, name: str, secret: str, address: Address | None) -> SmtpCredential | None:
        """Return the credential of this name and secret, if it may be used now from ``address``.

        ``address`` is the mail client's; None where the mail relay does not know it, and then a credential that is
        restricted to some networks is refused. Whatever is wrong, the answer is None and nothing tells what. A use
        that is granted is noted as the last one.
        """
        now = self._clock()
        found = await self._store.smtp_credential_by_digest(secret_text.digest(_bytes(secret)))
        if found is None or not compare_digest(_bytes(found.name), _bytes(name.strip().lower())):
            return None
        if found.expires is not None and found.expires <= now:
            return None
        if found.networks and (address is None or not found.networks.allows(address)):
            return None
        await self._store.record_smtp_use(found.id, now, "" if address is None else str(unmapped(address)))
        return found

    # Parts of the above

    def _draft(self, name: str, networks: Iterable[str], expires: float | None, hint: str) -> SmtpCredential:
        """Return a credential that has no owner yet."""
        now = self._clock()
        return SmtpCredential(
            id=secrets.token_hex(8),
            account_id="",
            account_email="",
            name=facts.smtp_name(name),
            hint=hint,
            networks=facts.networks(networks),
            expires=facts.expiry(expires, now),
            created=now,
        )

    async def _found(
        self,
        tx: Transaction,
        email: str,
        name: str | None,
        credential_id: str | None,
        version: int | None,
        within: Authority | None,
    ) -> SmtpCredential:
        """Return the credential that is to be altered, by whoever may."""
        account = await find_account(tx, email)
        if within is not None:
            await within.confirm(tx, account, self._clock())
        found = await find_smtp(tx, account, name, credential_id)
        if within is not None:
            within.require(found)
        return at_version(found, version)

    async def _log(self, tx: Transaction, what: What, found: SmtpCredential, by: By, details: str = "") -> None:
        await tx.add_event(by.event(self._clock(), what, found.account_email, found, details))


async def _must_be_free(tx: Transaction, account_id: str, name: str) -> None:
    if await tx.smtp_credential(account_id, name):
        raise KeyRuleBroken("name_taken", f"the account already has an SMTP credential named {name}")


def _bytes(text: str) -> bytes:
    # Half characters, which a caller may hand on, are no part of any secret and no reason to fail.
    return text.encode("utf-8", "surrogatepass")
