"""What coming in is made of: who somebody is, what an attempt was answered, and how secrets are made.

Law: values only, and no HTTP. A secret leaves in one answer, and is a SHA-256 everywhere else.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Literal

from keystile.keys.key import Account
from keystile.storage.passwords import PasswordRefused, check_rules

AccessCode = Literal[
    "wrong_password",
    "bad_password",
    "link_over",
    "too_many_tokens",
    "session_needed",
    "no_such_token",
]


class AccessRefused(Exception):
    """A rule of ``access.py`` says no; ``code`` says which, ``message`` is safe to show."""

    def __init__(self, code: AccessCode, message: str) -> None:
        super().__init__(message)
        self.code: AccessCode = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who has come in. ``id`` names the session or the token; ``csrf`` is "" for a token.

    ``expires``: when the token ends, in Unix seconds (None: never, and for a session). What a token makes should
    not outlive it.
    """

    account: Account
    kind: Literal["session", "token"]
    csrf: str = field(repr=False)
    id: str
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session; ``secret`` is for the cookie and for nothing else."""

    secret: str = field(repr=False)
    identity: Identity


@dataclass(frozen=True, slots=True)
class SlowDown:
    """The attempt was not looked at; the next one will be after so many whole seconds."""

    retry_after: int


def new_secret(prefix: str = "") -> str:
    """Return a secret of 256 random bits in hexadecimal."""
    return prefix + secrets.token_hex(32)


def digest(secret: str) -> bytes:
    """Return its SHA-256: enough, since 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def csrf_of(secret: str) -> str:
    """Return what a session's forms carry. It need not be kept, and does not lead back to the session's secret."""
    return hashlib.sha256(f"keystile csrf\0{secret}".encode("utf-8", "surrogatepass")).hexdigest()


def must_be_session(identity: Identity) -> None:
    """Raise AccessRefused (session_needed) for a token."""
    if identity.kind != "session":
        raise AccessRefused("session_needed", "a management token cannot do this; sign in with the password")


def must_be_good(password: str) -> None:
    """Raise AccessRefused (bad_password) for one that is too short or too long."""
    try:
        check_rules(password)
    except PasswordRefused as fault:
        raise AccessRefused("bad_password", str(fault)) from None
