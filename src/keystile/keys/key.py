"""Accounts, API keys and SMTP credentials as everybody but the store sees them: facts, never a secret or a digest.

Law: values only. Nothing here checks a rule (``service.py``, ``smtp.py``) or answers a call (``keyring.py``).
Every time is in Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from keystile.keys.networks import Networks


@dataclass(frozen=True, slots=True)
class Account:
    """An e-mail address that owns keys; ``operator``: may see and manage everybody's."""

    id: str
    email: str
    operator: bool
    created: float


class Permits(Protocol):
    """What a credential permits: which scopes, from where (empty: everywhere), until when (None: for ever)."""

    @property
    def scopes(self) -> frozenset[str]:
        """Its scopes."""

    @property
    def networks(self) -> Networks:
        """Where it may be used from."""

    @property
    def expires(self) -> float | None:
        """Until when, in Unix seconds."""


class Credential(Permits, Protocol):
    """An API key or an SMTP credential: what both have, for events and for rules that hold for both."""

    @property
    def id(self) -> str:
        """By which programs name it; it never changes."""

    @property
    def name(self) -> str:
        """By which its owner names it."""

    @property
    def hint(self) -> str:
        """The last five characters of its secret."""

    @property
    def version(self) -> int:
        """Grows with every edit and change."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key.

    ``expires`` None means never. ``imported``: issued elsewhere, so its secret need not have check digits.
    ``version`` grows with every edit and change. While a change overlaps, ``old_until`` is the end of the
    old secret and ``old_hint`` its hint. ``last_used_…`` tell the last use of the key by whichever secret,
    ``old_last_used_…`` that of the old one; ``…_from`` are IP addresses.
    """

    id: str
    account_id: str
    account_email: str
    name: str
    hint: str
    scopes: frozenset[str]
    networks: Networks
    expires: float | None
    created: float
    imported: bool
    version: int = 1
    last_used_at: float | None = None
    last_used_from: str | None = None
    old_until: float | None = None
    old_hint: str | None = None
    old_last_used_at: float | None = None
    old_last_used_from: str | None = None


SEND_SMTP = "SendSmtp"
"""The scope of every SMTP credential, as the service's own API calls it."""


@dataclass(frozen=True, slots=True)
class SmtpCredential:
    """What is known of an SMTP credential: a user name (an e-mail address) and a secret for the mail relay.

    A kind of its own: it never authenticates an API call, and no API key counts as one. ``scope`` is a single
    value, as in the service's own API. The rest is as in ``ApiKey``.
    """

    id: str
    account_id: str
    account_email: str
    name: str
    hint: str
    networks: Networks
    expires: float | None
    created: float
    scope: str = SEND_SMTP
    version: int = 1
    last_used_at: float | None = None
    last_used_from: str | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """Its scope, for rules that hold for keys as well."""
        return frozenset((self.scope,))
