"""Events in plain words.

Law: an event's own text is shown, parted into lines; nothing is looked up, so events outlive what they are about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from keystile.keys.audit import AuditEvent, What
from keystile.keys.key import ApiKey
from keystile.management.context import services
from keystile.management.entry import Identity
from keystile.management.pages.writing import length, plain_moment

WORDS: Final[Mapping[What, str]] = {
    What.ACCOUNT_CREATED: "Account created",
    What.ACCOUNT_DELETED: "Account deleted",
    What.PASSWORD_SET: "Password set",
    What.PASSWORD_LINK_MADE: "Link for a new password made",
    What.PASSWORD_LINK_USED: "Link for a new password used",
    What.SIGNED_IN: "Signed in",
    What.SIGNED_OUT: "Signed out",
    What.TOKEN_CREATED: "Management token created",
    What.TOKEN_DELETED: "Management token deleted",
    What.KEY_CREATED: "API key created",
    What.KEY_IMPORTED: "API key taken over from elsewhere",
    What.KEY_EDITED: "API key edited",
    What.KEY_CHANGED: "API key changed",
    What.KEY_DELETED: "API key deleted",
    What.KEY_EXPOSED: "API key sent without TLS",
    What.SMTP_CREATED: "SMTP credential created",
    What.SMTP_EDITED: "SMTP credential edited",
    What.SMTP_CHANGED: "SMTP credential changed",
    What.SMTP_DELETED: "SMTP credential deleted",
}
_FACTS: Final = {"name": "Name", "scopes": "Permissions", "networks": "Usable from", "expires": "Expires"}
_FACT: Final = re.compile(r"(?:^|; )(name|scopes|networks|expires): ")
_ENDS: Final = re.compile(r"(…\S+) ends (?:(at once)|after (\d+) s)")
_JSON: Final = json.JSONDecoder()
_RECENT: Final = 200
_MOST_NAMED: Final = 4
Describe = Callable[[Iterable[str]], str]


@dataclass(frozen=True, slots=True)
class Happened:
    """One event as a page tells it; ``lines`` say what was different."""

    at: float
    what: str
    who: str
    origin: str
    lines: tuple[str, ...]
    key_name: str | None
    key_hint: str | None


def told(event: AuditEvent, reader: str, describe: Describe) -> Happened:
    """Return the event in words, for the account ``reader``; ``describe`` puts permissions in short."""
    who = "You" if event.actor == reader else event.actor
    details = lines(event.details, describe)
    return Happened(event.at, WORDS[event.what], who, event.origin, details, event.key_name, event.key_hint)


async def since_version(
    request: web.Request, identity: Identity, key: ApiKey, version: int
) -> tuple[Happened, ...]:
    """Return what has been done to the key since it was at ``version``, newest first: one event for each version."""
    email = identity.account.email
    events = await services(request).keys.events(_RECENT, account=email)
    about = [event for event in events if event.key_id == key.id and event.what in (What.KEY_EDITED, What.KEY_CHANGED)]
    describe = services(request).catalogue.describe
    return tuple(told(event, email, describe) for event in about[: max(0, key.version - version)])


def lines(details: str, describe: Describe) -> tuple[str, ...]:
    """Return an event's details as lines for people."""
    named, details = _renamed(details)
    parts = _FACT.split(details)
    if len(parts) == 1:
        return named or tuple(filter(None, (_ends(details),)))
    facts = zip(parts[1::2], parts[2::2], strict=True)
    return named + tuple(f"{_FACTS[fact]}: {_value(fact, text, describe)}" for fact, text in facts)


def _renamed(details: str) -> tuple[tuple[str, ...], str]:
    """The line about a name, which stands first and in quotes, and the rest: no name is read as another fact."""
    if not details.startswith('name: "'):
        return (), details
    try:
        before, end = _JSON.raw_decode(details, len("name: "))
        after, end = _JSON.raw_decode(details, end + len(" → "))
    except ValueError:  # written by an older version, for a name that began with a quote
        return (details,), ""
    return (f"{_FACTS['name']}: {before} → {after}",), details[end:]


def _value(fact: str, text: str, describe: Describe) -> str:
    before, arrow, after = text.partition(" → ")
    if fact == "scopes":
        return _scopes(_names(before), _names(after), describe) if arrow else describe(_names(text))
    show = _moment if fact == "expires" else str
    return f"{show(before)} → {show(after)}" if arrow else show(text)


def _scopes(old: set[str], new: set[str], describe: Describe) -> str:
    """What came and what went; where that is long, what there was and is."""
    changes = [f"+{scope}" for scope in sorted(new - old)] + [f"−{scope}" for scope in sorted(old - new)]
    return ", ".join(changes) if len(changes) <= _MOST_NAMED else f"{describe(old)} → {describe(new)}"


def _names(text: str) -> set[str]:
    return set(text.split()) - {"none"}


def _moment(text: str) -> str:
    """Return ISO 8601 as the rest of the page has moments; the text itself where it is none ("never")."""
    try:
        return plain_moment(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return text


def _ends(details: str) -> str:
    found = _ENDS.fullmatch(details)
    if not found:
        return details
    when = "at once" if found[2] else f"after {length(float(found[3]))}"
    return f"Old key •••{found[1]}: stopped {when}"
