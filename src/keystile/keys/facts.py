"""What an owner may say of a key: texts become values, or a rule is broken.

Law: this file checks one thing at a time, each by itself; what needs to look at other keys
(is the name taken?) is in ``service.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from keystile.keys import naming
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.networks import Networks
from keystile.keys.scopes import normalise
from keystile.keys.secret import HINT_LENGTH

MAX_SCOPES = 256
MAX_NETWORKS = 256
MAX_OVERLAP = 30 * 86400.0
"""Seconds for which an old secret may go on working after a change."""
_END_OF_TIME = 253402300800.0  # the year 10000, which no calendar of ours can print
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_HINT = re.compile(rf"[!-~]{{{HINT_LENGTH}}}")


def email(text: str) -> str:
    """Return the address in its canonical spelling; ``bad_email`` otherwise."""
    try:
        return naming.email_address(text)
    except ValueError as fault:
        raise KeyRuleBroken("bad_email", str(fault)) from None


def name(text: str) -> str:
    """Return the name of a key in its canonical spelling; ``bad_name`` otherwise."""
    try:
        return naming.key_name(text)
    except ValueError as fault:
        raise KeyRuleBroken("bad_name", str(fault)) from None


def smtp_name(text: str) -> str:
    """Return the name of an SMTP credential, an e-mail address, in its canonical spelling; ``bad_name`` otherwise."""
    try:
        return naming.email_address(text)
    except ValueError as fault:
        raise KeyRuleBroken("bad_name", str(fault)) from None


def scopes(names: Iterable[str]) -> frozenset[str]:
    """Return the scopes as a set; ``bad_scope`` otherwise."""
    try:
        found = normalise(names)
    except ValueError as fault:
        raise KeyRuleBroken("bad_scope", str(fault)) from None
    if len(found) > MAX_SCOPES:
        raise KeyRuleBroken("bad_scope", f"a key has at most {MAX_SCOPES} scopes; these are {len(found)}")
    return found


def networks(texts: Iterable[str]) -> Networks:
    """Return where the key may be used from; ``bad_network`` otherwise."""
    texts = tuple(texts)
    if len(texts) > MAX_NETWORKS:
        message = f"a key has at most {MAX_NETWORKS} allowed networks; these are {len(texts)}"
        raise KeyRuleBroken("bad_network", message)
    try:
        return Networks.parse(texts)
    except ValueError as fault:
        raise KeyRuleBroken("bad_network", str(fault)) from None


def expiry(at: float | None, now: float) -> float | None:
    """Return the expiry in Unix seconds (None: never); ``expiry_in_the_past`` or ``bad_expiry`` otherwise."""
    if at is None:
        return None
    if not at < _END_OF_TIME:  # this way round, "not a number" is refused as well
        raise KeyRuleBroken("bad_expiry", "an expiry lies before the year 10000; give none for never")
    if at <= now:
        raise KeyRuleBroken("expiry_in_the_past", "the expiry lies in the past")
    return float(at)


def overlap(seconds: float) -> float:
    """Return for how long an old secret goes on working; ``bad_overlap`` otherwise."""
    if not math.isfinite(seconds) or not 0 <= seconds <= MAX_OVERLAP:
        raise KeyRuleBroken("bad_overlap", f"an overlap is between 0 and {MAX_OVERLAP / 86400:.0f} days")
    return float(seconds)


def digest(text: str) -> bytes:
    """Return the 32 bytes of a SHA-256 in hexadecimal; ``bad_digest`` otherwise."""
    if not _DIGEST.fullmatch(text.strip()):
        raise KeyRuleBroken("bad_digest", "a digest is a SHA-256: 64 hexadecimal characters")
    return bytes.fromhex(text.strip())


def hint(text: str) -> str:
    """Return the last five characters of a secret issued elsewhere; ``bad_hint`` otherwise."""
    if not _HINT.fullmatch(text):
        raise KeyRuleBroken("bad_hint", "a hint is the last five characters of the secret")
    return text
