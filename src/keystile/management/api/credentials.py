"""API keys, SMTP credentials and management tokens as the API shows them.

Law: values in, shapes out. Exactly three shapes hold a secret (``NewKey``, ``NewSmtp``, ``NewToken``); each is made
where its secret is made, for one answer.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from keystile.keys.key import ApiKey
from keystile.keys.key import SmtpCredential as AnSmtpCredential
from keystile.management.api.answers import Answer, Moment, MomentOrNull
from keystile.management.api.moments import written, written_or_null
from keystile.storage.access import ManagementToken

REPLAYED: Final = (
    "This repeats a request that has been answered, and secrets are shown once. "
    "If that answer was lost, change it to get a new secret."
)
TOKEN_REPLAYED: Final = (
    "This repeats a request that has been answered, and tokens are shown once. "
    "If that answer was lost, delete the token and make another."
)


class Permitted(Answer):
    """What API keys and SMTP credentials have in common."""

    id: str
    account: str
    name: str
    hint: Annotated[str, Field(description="The secret's last five characters.")]
    allowed_networks: list[str]
    expires: MomentOrNull
    created: Moment
    state: Literal["active", "expired"]
    version: Annotated[int, Field(description="Grows with every edit and change; the ETag without its quotes.")]
    last_used: MomentOrNull
    last_used_from: str | None


class Key(Permitted):
    """An API key, without its secret."""

    scopes: list[str]
    imported: bool
    old_hint: Annotated[str | None, Field(description="Of the old secret, while it still works after a change.")]
    old_until: MomentOrNull
    old_last_used: Annotated[
        MomentOrNull, Field(description="Last use of the old secret; `last_used` is that of the key by whichever.")
    ]
    old_last_used_from: str | None

    @classmethod
    def of(cls, key: ApiKey, now: float) -> Key:
        """The answer for this key at this moment (Unix seconds)."""
        return cls.model_validate(key_members(key, now))


class KeptKey(Key):
    """An API key that has been edited or taken over."""

    warnings: list[str]


class NewKey(KeptKey):
    """An API key with its secret: the only answer that shows it."""

    key: str = Field(repr=False)


class RepeatedKey(Key):
    """The answer to a repetition: the key as it is now, without its secret."""

    key: None = None
    warnings: tuple[str, ...] = ()
    note: str = REPLAYED


class Smtp(Permitted):
    """An SMTP credential, without its secret."""

    scope: str

    @classmethod
    def of(cls, credential: AnSmtpCredential, now: float) -> Smtp:
        """The answer for this SMTP credential at this moment (Unix seconds)."""
        return cls.model_validate(smtp_members(credential, now))


class NewSmtp(Smtp):
    """An SMTP credential with its secret: the only answer that shows it."""

    secret: str = Field(repr=False)


class RepeatedSmtp(Smtp):
    """The answer to a repetition: the SMTP credential as it is now, without its secret."""

    secret: None = None
    note: str = REPLAYED


class Token(Answer):
    """A management token, without its secret."""

    id: str
    name: str
    hint: Annotated[str, Field(description="The secret's last five characters.")]
    expires: MomentOrNull
    created: Moment
    state: Literal["active", "expired"]
    last_used: MomentOrNull
    last_used_from: str | None

    @classmethod
    def of(cls, token: ManagementToken, now: float) -> Token:
        """The answer for this token at this moment (Unix seconds)."""
        return cls.model_validate(token_members(token, now))


class NewToken(Token):
    """A management token with its secret: the only answer that shows it."""

    token: str = Field(repr=False)


class RepeatedToken(Token):
    """The answer to a repetition: the management token without its secret."""

    token: None = None
    note: str = TOKEN_REPLAYED


def key_members(key: ApiKey, now: float) -> dict[str, object]:
    """The members of every answer that shows a key."""
    return {
        **_permitted(key, now),
        "scopes": sorted(key.scopes),
        "imported": key.imported,
        "old_hint": key.old_hint,
        "old_until": written_or_null(key.old_until),
        "old_last_used": written_or_null(key.old_last_used_at),
        "old_last_used_from": key.old_last_used_from,
    }


def smtp_members(credential: AnSmtpCredential, now: float) -> dict[str, object]:
    """The members of every answer that shows an SMTP credential."""
    return {**_permitted(credential, now), "scope": credential.scope}


def token_members(token: ManagementToken, now: float) -> dict[str, object]:
    """The members of every answer that shows a management token."""
    return {
        "id": token.id,
        "name": token.name,
        "hint": token.hint,
        "expires": written_or_null(token.expires),
        "created": written(token.created),
        "state": _state(token.expires, now),
        "last_used": written_or_null(token.used_at),
        "last_used_from": token.used_from,
    }


def _permitted(found: ApiKey | AnSmtpCredential, now: float) -> dict[str, object]:
    return {
        "id": found.id,
        "account": found.account_email,
        "name": found.name,
        "hint": found.hint,
        "allowed_networks": list(found.networks.texts),
        "expires": written_or_null(found.expires),
        "created": written(found.created),
        "state": _state(found.expires, now),
        "version": found.version,
        "last_used": written_or_null(found.last_used_at),
        "last_used_from": found.last_used_from,
    }


def _state(expires: float | None, now: float) -> Literal["active", "expired"]:
    return "expired" if expires is not None and expires <= now else "active"
