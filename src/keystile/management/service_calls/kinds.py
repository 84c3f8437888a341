"""The two kinds of credentials, API keys and SMTP credentials, behind one shape: five calls each.

Law: each call is one call of a service and one answer; every rule is the service's. ``within`` is always given:
what a key makes or alters lies within what it holds itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.management.service_calls import payload, shown
from keystile.management.service_calls.acting import Acting
from keystile.management.service_calls.errors import NOT_FOUND, Refused
from keystile.management.service_calls.payload import Payload
from keystile.management.service_calls.shown import Members

Found = TypeVar("Found")


class Credentials(Protocol):
    """What is done with one kind. Each may raise ``Refused``, ``KeyRuleBroken`` and the store's own errors."""

    def read(self, body: bytes) -> Payload:
        """What a client's payload says."""

    async def every(self, by: Acting) -> list[Members]:
        """All that the account has."""

    async def one(self, by: Acting, name: str) -> Members:
        """The one of this name."""

    async def make(self, by: Acting, wanted: Payload) -> Members:
        """A new one, with its token."""

    async def replace(self, by: Acting, name: str, wanted: Payload) -> Members:
        """The one of this name, everything but its token replaced."""

    async def delete(self, by: Acting, name: str) -> None:
        """Away with the one of this name."""


class ApiKeys:
    """API keys."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    def read(self, body: bytes) -> Payload:
        """An ``ApiKeyPayload``."""
        return payload.api_key(body)

    async def every(self, by: Acting) -> list[Members]:
        """All API keys of the account."""
        return [shown.api_key(key) for key in await self._keys.list(by.account)]

    async def one(self, by: Acting, name: str) -> Members:
        """The API key of this name."""
        return shown.api_key(await _named(self._keys.find_by_name, by.account, name))

    async def make(self, by: Acting, wanted: Payload) -> Members:
        """A new API key."""
        made = await self._keys.create(
            by.account,
            wanted.name,
            wanted.scopes,
            wanted.networks,
            wanted.expires,
            within=by.authority,
            actor=by.account,
            origin=by.origin,
        )
        return shown.with_token(shown.api_key(made.key), made.secret)

    async def replace(self, by: Acting, name: str, wanted: Payload) -> Members:
        """The API key with other facts."""
        found = await _named(self._keys.find_by_name, by.account, name)
        kept = await self._keys.edit(
            by.account,
            key_id=found.id,
            new_name=wanted.name,
            scopes=wanted.scopes,
            networks=wanted.networks,
            expires=wanted.expires,
            within=by.authority,
            actor=by.account,
            origin=by.origin,
        )
        return shown.api_key(kept.key)

    async def delete(self, by: Acting, name: str) -> None:
        """Delete the API key."""
        found = await _named(self._keys.find_by_name, by.account, name)
        await self._keys.delete(
            by.account, key_id=found.id, within=by.authority, actor=by.account, origin=by.origin
        )


class SmtpCredentials:
    """SMTP credentials."""

    def __init__(self, smtp: SmtpService) -> None:
        self._smtp = smtp

    def read(self, body: bytes) -> Payload:
        """An ``SmtpCredentialsPayload``."""
        return payload.smtp_credential(body)

    async def every(self, by: Acting) -> list[Members]:
        """All SMTP credentials of the account."""
        return [shown.smtp_credential(each) for each in await self._smtp.list(by.account)]

    async def one(self, by: Acting, name: str) -> Members:
        """The SMTP credential of this name."""
        return shown.smtp_credential(await _named(self._smtp.find_by_name, by.account, name))

    async def make(self, by: Acting, wanted: Payload) -> Members:
        """A new SMTP credential."""
        made = await self._smtp.create(
            by.account,
            wanted.name,
            wanted.networks,
            wanted.expires,
            within=by.authority,
            actor=by.account,
            origin=by.origin,
        )
        return shown.with_token(shown.smtp_credential(made.credential), made.secret)

    async def replace(self, by: Acting, name: str, wanted: Payload) -> Members:
        """The SMTP credential with other facts."""
        found = await _named(self._smtp.find_by_name, by.account, name)
        edited = await self._smtp.edit(
            by.account,
            credential_id=found.id,
            new_name=wanted.name,
            networks=wanted.networks,
            expires=wanted.expires,
            within=by.authority,
            actor=by.account,
            origin=by.origin,
        )
        return shown.smtp_credential(edited)

    async def delete(self, by: Acting, name: str) -> None:
        """Delete the SMTP credential."""
        found = await _named(self._smtp.find_by_name, by.account, name)
        await self._smtp.delete(
            by.account, credential_id=found.id, within=by.authority, actor=by.account, origin=by.origin
        )


async def _named(find: Callable[[str, str], Awaitable[Found]], account: str, name: str) -> Found:
    """The one of this name; a name that none could have is one that is not there."""
    try:
        return await find(account, name)
    except KeyRuleBroken as broken:
        if broken.code in ("bad_name", "bad_email", "no_such_key", "no_such_credential"):
            raise Refused(NOT_FOUND, "There is none of this name.") from None
        raise
