"""Accounts and API keys as everybody but the store sees them: facts, never a secret or a digest.

Law: values only. Nothing here checks a rule (``service.py``) or answers a call (``keyring.py``).
Every time is in Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from keystile.keys.networks import Networks


@dataclass(frozen=True, slots=True)
class Account:
    """An e-mail address that owns keys; ``operator``: may see and manage everybody's."""

    id: str
    email: str
    operator: bool
    created: float


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key.

    ``expires`` None means never. ``imported``: issued elsewhere, so its secret need not have check digits.
    ``version`` grows with every edit and change. While a change overlaps, ``old_until`` is the end of the
    old secret and ``old_hint`` its hint. ``last_used_from`` is an IP address.
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
