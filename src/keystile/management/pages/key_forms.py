"""The form of a key: what was typed, what is wrong with it beside which field, and what it asks for.

Law: texts come in; facts of a key or faults of fields go out. What is valid is asked of ``keys.facts``, so that page,
API and command line agree; what needs other keys (is the name taken?) the service says afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

from multidict import MultiMapping

from keystile.keys import facts
from keystile.keys.errors import KeyRuleBroken, RuleCode
from keystile.keys.key import ApiKey
from keystile.management.catalogue import Catalogue

Given = TypeVar("Given")
Kept = TypeVar("Kept")
Faults = dict[str, tuple[str, ...]]
"""What is wrong, as sentences, by field; ``form`` where it belongs to none."""

FIELD_OF: Final[Mapping[RuleCode, str]] = {
    "bad_name": "name",
    "name_taken": "name",
    "bad_scope": "access",
    "beyond_authority": "access",
    "bad_network": "networks",
    "bad_expiry": "expires",
    "expiry_in_the_past": "expires",
    "bad_overlap": "overlap",
}
_BETWEEN = re.compile(r"[\n,;]+")
_LINES = re.compile(r"\r\n?")


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in the fields. ``access``: ``full``, ``view``, ``custom`` or nothing; ``chosen``: ticked scopes."""

    name: str = ""
    access: str = ""
    chosen: frozenset[str] = frozenset()
    networks: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a form asks for, checked field by field."""

    name: str
    scopes: frozenset[str]
    networks: tuple[str, ...]
    expires: float | None


def typed(fields: MultiMapping[str]) -> Typed:
    """Return what was typed, with line ends as LF."""
    return Typed(
        name=fields.get("name", ""),
        access=fields.get("access", ""),
        chosen=frozenset(fields.getall("scope", [])),
        networks=_LINES.sub("\n", fields.get("networks", "")),
        expires=fields.get("expires", "").strip(),
    )


def typed_of(key: ApiKey, catalogue: Catalogue) -> Typed:
    """Return the fields as they are filled in for a key that exists."""
    return Typed(
        name=key.name,
        access=catalogue.preset_of(key.scopes),
        chosen=key.scopes,
        networks="\n".join(key.networks.texts),
        expires=day_of(key.expires),
    )


def scopes_of(form: Typed, catalogue: Catalogue) -> frozenset[str]:
    """Return the explicit list behind a preset, or what was chosen."""
    presets = {"full": catalogue.full, "view": catalogue.view_only}
    return frozenset(presets.get(form.access, form.chosen))


def entries(text: str) -> tuple[str, ...]:
    """Return the addresses and ranges of a field: one a line; commas and semicolons part them as well."""
    return tuple(entry for part in _BETWEEN.split(text) if (entry := part.strip()))


def judge(form: Typed, catalogue: Catalogue, now: float, expires_now: float | None = None) -> Wanted | Faults:
    """Return what the form asks for, or every fault of it at once.

    ``expires_now``: the expiry of the key that is edited; a form that still names its day leaves it, hours included.
    """
    faults: Faults = {}
    name = _kept(faults, facts.name, form.name, "")
    none: frozenset[str] = frozenset()
    scopes = _kept(faults, facts.scopes, scopes_of(form, catalogue), none)
    if form.access not in ("full", "view", "custom"):
        faults["access"] = ("Choose what the key may do.",)
    networks = entries(form.networks)
    if wrong := network_faults(networks):
        faults["networks"] = wrong
    same_day = expires_now is not None and form.expires == day_of(expires_now)
    expires = expires_now if same_day else _expiry(form, now, faults)
    return faults or Wanted(name, scopes, networks, expires)


def network_faults(networks: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for each entry that is none, or for their number."""
    networks = tuple(networks)
    found: list[str] = []
    for entry in networks:
        try:
            facts.networks([entry])
        except KeyRuleBroken as broken:
            found.append(sentence(broken.message))
    if not found:
        try:
            facts.networks(networks)
        except KeyRuleBroken as broken:
            found.append(sentence(broken.message))
    return tuple(found)


def faults_of(broken: KeyRuleBroken) -> Faults:
    """Return a broken rule as a fault of the field that it belongs to."""
    return {FIELD_OF.get(broken.code, "form"): (sentence(broken.message),)}


def sentence(message: str) -> str:
    """Return a message of the domain as a sentence."""
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "!", "?")) else ".")


def day_of(at: float | None) -> str:
    """Return the day (UTC) of an expiry as the field has it; nothing for never."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).date().isoformat()


def first_day(now: float) -> str:
    """Return the first day that an expiry may be: tomorrow, since a day means 00:00 UTC of it."""
    return (datetime.fromtimestamp(now, UTC).date() + timedelta(days=1)).isoformat()


def _expiry(form: Typed, now: float, faults: Faults) -> float | None:
    """Return 00:00 UTC of the day that was typed."""
    if not form.expires:
        return None
    try:
        day = date.fromisoformat(form.expires)
    except ValueError:
        faults["expires"] = ("Write the day as YYYY-MM-DD.",)
        return None
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return _kept(faults, lambda at: facts.expiry(at, now), midnight, None)


def _kept(faults: Faults, rule: Callable[[Given], Kept], value: Given, otherwise: Kept) -> Kept:
    """Return what the rule makes of a value; where it says no, note it and go on: all faults are told at once."""
    try:
        return rule(value)
    except KeyRuleBroken as broken:
        faults.update(faults_of(broken))
        return otherwise
