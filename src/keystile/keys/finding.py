"""Finding what a caller names: an account by its address, a key or SMTP credential by id or by name.

Law: this file asks a store and raises ``KeyRuleBroken`` where something is not there, or not as it was seen.
It changes nothing. A credential of another account is one that is not there.
"""

from __future__ import annotations

from typing import TypeVar

from keystile.keys import facts
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account, ApiKey, Credential, SmtpCredential
from keystile.keys.store import Reading

Found = TypeVar("Found", bound=Credential)


async def find_account(store: Reading, email: str) -> Account:
    """Return the account; ``no_such_account`` otherwise."""
    account = await store.account(facts.email(email))
    if account is None:
        raise KeyRuleBroken("no_such_account", f"there is no account {facts.email(email)}")
    return account


async def find_key(store: Reading, owner: Account, name: str | None, key_id: str | None) -> ApiKey:
    """Return the key with this id or, without one, of this name; ``no_such_key`` otherwise.

    Where both are given, the id says which, and a key that has another name by now is a ``conflict``.
    """
    if key_id is None:
        wanted = facts.name(_given(name))
        key = await store.key(owner.id, wanted)
        missing = f"{owner.email} has no key named {wanted!r}"
    else:
        key = await store.key_by_id(key_id) if key_id.isascii() else None  # half characters cannot be asked for
        missing = f"{owner.email} has no such key; it may have been deleted meanwhile"
    if key is None or key.account_id != owner.id:
        raise KeyRuleBroken("no_such_key", missing)
    return as_named(key, None if name is None else facts.name(name))


async def find_smtp(store: Reading, owner: Account, name: str | None, credential_id: str | None) -> SmtpCredential:
    """Return the SMTP credential, found as ``find_key`` finds a key; ``no_such_credential`` otherwise."""
    if credential_id is None:
        wanted = facts.smtp_name(_given(name))
        credential = await store.smtp_credential(owner.id, wanted)
        missing = f"{owner.email} has no SMTP credential named {wanted}"
    else:
        credential = await store.smtp_credential_by_id(credential_id) if credential_id.isascii() else None
        missing = f"{owner.email} has no such SMTP credential; it may have been deleted meanwhile"
    if credential is None or credential.account_id != owner.id:
        raise KeyRuleBroken("no_such_credential", missing)
    return as_named(credential, None if name is None else facts.smtp_name(name))


def as_named(credential: Found, name: str | None) -> Found:
    """Return it; ``conflict`` where it is called otherwise than ``name`` says."""
    if name is not None and credential.name != name:
        raise KeyRuleBroken("conflict", f"{name!r} has been renamed meanwhile: it is {credential.name!r} now")
    return credential


def at_version(credential: Found, version: int | None) -> Found:
    """Return it; ``conflict`` where it is no longer at ``version``."""
    if version is not None and version != credential.version:
        message = f"it has been edited meanwhile: it is at version {credential.version}, not {version}"
        raise KeyRuleBroken("conflict", message)
    return credential


def _given(name: str | None) -> str:
    if name is None:
        raise TypeError("a name or an id is needed")
    return name
