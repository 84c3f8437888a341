"""What has happened to accounts, keys and SMTP credentials: the events of the audit table.

Law: an event tells who, what, when, from where and about which credential; it holds no secret and no digest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from keystile.keys.key import Credential
from keystile.keys.scopes import as_text


class What(StrEnum):
    """Every kind of event there is."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DELETED = "account.deleted"
    PASSWORD_SET = "account.password_set"
    PASSWORD_LINK_MADE = "account.password_link_made"
    PASSWORD_LINK_USED = "account.password_link_used"
    SIGNED_IN = "account.signed_in"
    SIGNED_OUT = "account.signed_out"
    TOKEN_CREATED = "token.created"
    TOKEN_DELETED = "token.deleted"
    KEY_CREATED = "key.created"
    KEY_IMPORTED = "key.imported"
    KEY_EDITED = "key.edited"
    KEY_CHANGED = "key.changed"
    KEY_DELETED = "key.deleted"
    KEY_EXPOSED = "key.exposed"
    SMTP_CREATED = "smtp.created"
    SMTP_EDITED = "smtp.edited"
    SMTP_CHANGED = "smtp.changed"
    SMTP_DELETED = "smtp.deleted"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit table.

    ``at`` is in Unix seconds, ``actor`` who did it ("operator (command line)", or an account's e-mail
    address), ``origin`` from where (a host name, an IP address), ``account`` the e-mail address it was
    about. ``key_…`` tell of a key, or of an SMTP credential. ``details`` is for people. ``seq`` is the store's
    number, 0 before it is written.
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


@dataclass(frozen=True, slots=True)
class By:
    """Who asks, and from where."""

    actor: str
    origin: str

    def event(
        self, at: float, what: What, account: str, credential: Credential | None = None, details: str = ""
    ) -> AuditEvent:
        """Return the event that they did this to the account (an e-mail address), or to a credential of it."""
        event = AuditEvent(at, self.actor, self.origin, what, account, details=details)
        if credential is None:
            return event
        return replace(event, key_id=credential.id, key_name=credential.name, key_hint=credential.hint)


def facts_of(key: Credential) -> str:
    """Return what an event tells of a new credential, for people."""
    return "; ".join(f"{fact}: {text}" for fact, text in _facts(key).items() if fact != "name")


def differences(before: Credential, after: Credential) -> str:
    """Return what an event tells of an edit, for people."""
    old, new = _facts(before), _facts(after)
    return "; ".join(f"{fact}: {old[fact]} → {new[fact]}" for fact in old if old[fact] != new[fact])


def _facts(key: Credential) -> dict[str, str]:
    return {
        # Quoted: a name must not be able to look like the other facts.
        "name": json.dumps(key.name, ensure_ascii=False),
        "scopes": as_text(key.scopes) or "none",
        "networks": key.networks.text or "everywhere",
        "expires": "never" if key.expires is None else _day(key.expires),
    }


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
