"""What a client wants of a key or an SMTP credential: ``ApiKeyPayload`` and ``SmtpCredentialsPayload``.

Law: bytes to values, or ``Refused`` with the member that is wrong. Whether a name is free or a network is one is
for the services to say. Members that nobody knows are ignored, as the service does: its clients send whatever
their version knows. ``Subaccount`` is known and not served: ignoring it would change the caller's own keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from keystile.keys.key import SEND_SMTP
from keystile.management.api.body import parsed
from keystile.management.api.problems import ApiProblem
from keystile.management.service_calls import levels
from keystile.management.service_calls.errors import BAD_PAYLOAD, Refused, of_api

LARGEST: Final = 128 * 1024
"""Bytes of a body: 256 scopes and 256 networks of the longest kind have less."""
NO_SUBACCOUNTS: Final = "There are no subaccounts here: each key manages the keys of its own account."

_MOMENT: Final = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:[Tt ](?P<time>\d{2}:\d{2}:\d{2})(?P<rest>\.\d{1,9})?)?"
    r"(?P<zone>[Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Payload:
    """``expires`` is in Unix seconds, None means never; no networks mean everywhere. An SMTP one has no scopes."""

    name: str
    scopes: tuple[str, ...]
    networks: tuple[str, ...]
    expires: float | None


def api_key(body: bytes) -> Payload:
    """Read an ``ApiKeyPayload``."""
    members = _members(body)
    scopes = (*_texts(members, "AccessLevel", needed=True), *_texts(members, "OtherAccessLevel"))
    return _payload(members, levels.meant(scopes))


def smtp_credential(body: bytes) -> Payload:
    """Read an ``SmtpCredentialsPayload``; an access level, where one is given, is the one that there is."""
    members = _members(body)
    level = members.get("AccessLevel")
    if level is not None and level != SEND_SMTP:
        raise _wrong("AccessLevel", f"an SMTP credential has the one access level {SEND_SMTP}")
    return _payload(members, ())


def _payload(members: dict[str, object], scopes: tuple[str, ...]) -> Payload:
    if members.get("Subaccount") not in (None, ""):
        raise Refused(BAD_PAYLOAD, NO_SUBACCOUNTS)
    name = members.get("Name")
    if not isinstance(name, str):
        raise _wrong("Name", "a text is needed")
    return Payload(name, scopes, _texts(members, "RestrictAccessToIPRange"), _expires(members.get("Expires")))


def _members(body: bytes) -> dict[str, object]:
    try:
        value = parsed(body)
    except ApiProblem as found:
        raise of_api(found) from None
    if not isinstance(value, dict):
        raise Refused(BAD_PAYLOAD, "The body must be a JSON object.")
    return value


def _texts(members: dict[str, object], name: str, *, needed: bool = False) -> tuple[str, ...]:
    """A list of texts; null, and where it is not needed nothing at all, is an empty one."""
    value = members.get(name)
    if value is None and not needed:
        return ()
    if not isinstance(value, list):
        raise _wrong(name, "a list of texts is needed")
    texts = tuple(text for text in value if isinstance(text, str))
    if len(texts) != len(value):
        raise _wrong(name, "every entry must be a text")
    return texts


def _expires(value: object) -> float | None:
    """Unix seconds; None for null. A moment without a zone is UTC, as the service writes and reads it."""
    if value is None:
        return None
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _wrong("Expires", "write such as 2026-12-31T00:00:00Z, or null for never")
    # datetime reads six digits of a second, other platforms write seven.
    text = f"{found['day']}T{found['time'] or '00:00:00'}{(found['rest'] or '')[:7]}{(found['zone'] or 'Z').upper()}"
    try:
        read = datetime.fromisoformat(text)
        return read.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise _wrong("Expires", "there is no such moment") from None


def _wrong(member: str, reason: str) -> Refused:
    return Refused(BAD_PAYLOAD, f"{member}: {reason}.")
