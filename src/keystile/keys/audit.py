"""What has happened to accounts and keys: the events of the audit table.

Law: an event tells who, what, when, from where and about which key; it holds no secret and no digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from keystile.keys.key import ApiKey
from keystile.keys.scopes import as_text


class What(StrEnum):
    """Every kind of event there is."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DELETED = "account.deleted"
    PASSWORD_SET = "account.password_set"
    KEY_CREATED = "key.created"
    KEY_IMPORTED = "key.imported"
    KEY_EDITED = "key.edited"
    KEY_CHANGED = "key.changed"
    KEY_DELETED = "key.deleted"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit table.

    ``at`` is in Unix seconds, ``actor`` who did it ("operator (command line)", or an account's e-mail
    address), ``origin`` from where (a host name, an IP address), ``account`` the e-mail address it was
    about. ``details`` is for people. ``seq`` is the store's number, 0 before it is written.
    """

    at: float
    actor: str
    origin: str
    what: What
    account: str
    key_id: str | None = None
    key_name: str | None = None
    key_hint: str | None = None
    details: str = ""
    seq: int = 0


def facts_of(key: ApiKey) -> str:
    """Return what an event tells of a new key, for people."""
    return "; ".join(f"{fact}: {text}" for fact, text in _facts(key).items() if fact != "name")


def differences(before: ApiKey, after: ApiKey) -> str:
    """Return what an event tells of an edit, for people."""
    old, new = _facts(before), _facts(after)
    return "; ".join(f"{fact}: {old[fact]} → {new[fact]}" for fact in old if old[fact] != new[fact])


def _facts(key: ApiKey) -> dict[str, str]:
    return {
        "name": key.name,
        "scopes": as_text(key.scopes) or "none",
        "networks": key.networks.text or "everywhere",
        "expires": "never" if key.expires is None else _day(key.expires),
    }


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
