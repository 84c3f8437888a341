"""The permissions of this API in order: areas, what each permission lets a key do, and the two presets.

Law: what there is comes from the route table and names of permissions; OpenAPI documents only add words. A
permission that fits no pattern stands under its own name, so every one can be found and granted.

A permission's name has a verb and an area: ``ViewContacts``, ``contacts:read``, ``write.pets``. Documents are read
once, in a thread (``read``); until then, and without any, permissions are explained by their names alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from keystile.config.model import Settings
from keystile.management.reference import Entry, Reference, cut, read_reference

Preset = Literal["full", "view", "custom"]

SENDING: Final = "Sending"
_DOES: Final = {
    "View": "See {}",
    "Read": "See {}",
    "Modify": "Add, change and delete {}",
    "Write": "Add, change and delete {}",
    "Manage": "Add, change and delete {}",
    "Create": "Add {}",
    "Update": "Change {}",
    "Delete": "Delete {}",
    "Send": "Send {}",
    "Export": "Export {}",
    "Import": "Import {}",
    "Verify": "Verify {}",
    "Admin": "Administer {}",
}
_LOOKING: Final = frozenset({"View", "Read"})
_ORDER: Final = {verb: at for at, verb in enumerate(_DOES)}
_SPECIAL: Final = {
    "SendHttp": "Send messages through the HTTP API",
    "SendSmtp": "Make credentials with which a mail program sends over SMTP",
}
_CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PARTED: Final = re.compile(r"([^:./]+)[:./]([^:./]+)").fullmatch
_LONGEST_NAME: Final = 60
_LONGEST_TEXT: Final = 80
_EXAMPLES: Final = 3
_SHOWN_AREAS: Final = 3


@dataclass(frozen=True, slots=True)
class OperationNote:
    """An operation that needs a permission. ``slug``: its page is ``/reference/<slug>``; ``title`` is never empty."""

    method: str
    path: str
    title: str
    slug: str


@dataclass(frozen=True, slots=True)
class ScopeInfo:
    """One permission. ``verb`` is a word in lower case such as "view"; ``explanation`` one sentence."""

    name: str
    verb: str
    explanation: str
    operations: tuple[OperationNote, ...]


@dataclass(frozen=True, slots=True)
class Area:
    """What belongs together, with a name for people; looking comes before changing."""

    name: str
    scopes: tuple[ScopeInfo, ...]


class Catalogue:
    """The permissions of one configuration; make it with ``of``."""

    def __init__(self, settings: Settings, documents: Mapping[Path, bytes]) -> None:
        self._settings = settings
        self._documents = documents
        self._turn = asyncio.Lock()
        self._read = False
        self._set(read_reference(settings, {}))

    @classmethod
    def of(cls, settings: Settings, documents: Mapping[Path, bytes]) -> Catalogue:
        """The catalogue of these settings; ``documents``: contents of what ``settings.documents`` names, by path.

        Returns at once; the documents' words are there when ``read`` has been awaited.
        """
        return cls(settings, documents)

    async def read(self) -> Reference:
        """Read the documents in a thread, once however often it is asked for; return the API's reference."""
        async with self._turn:
            if not self._read:
                self._set(await asyncio.to_thread(read_reference, self._settings, self._documents))
                self._read = True
        return self.reference

    def _set(self, reference: Reference) -> None:
        self.reference = reference
        needing = _needing(reference)
        self.areas = _areas(needing)
        self.full = tuple(sorted(needing))
        self._placed = {info.name: (area.name, info.verb) for area in self.areas for info in area.scopes}
        verbs = {verb.lower() for verb in _LOOKING}
        self.view_only = tuple(name for name in self.full if self._placed[name][1] in verbs)

    areas: tuple[Area, ...]
    """All areas by name."""
    full: tuple[str, ...]
    """The preset *Full access*: every permission that routes use."""
    view_only: tuple[str, ...]
    """The preset *View only*: those that only let look."""
    reference: Reference
    """The operations, without documents' words until ``read`` has been awaited."""

    def info(self, name: str) -> ScopeInfo | None:
        """What is known of a permission; None where no route uses it."""
        return next((info for area in self.areas for info in area.scopes if info.name == name), None)

    def preset_of(self, scopes: Iterable[str]) -> Preset:
        """Which preset these permissions are, to the letter."""
        held = frozenset(scopes)
        if held and held == frozenset(self.full):
            return "full"
        return "view" if held and held == frozenset(self.view_only) else "custom"

    def describe(self, scopes: Iterable[str]) -> str:
        """A few words: "Full access", "View only", "2 areas: Contacts (view, modify), Lists (view)"."""
        held = frozenset(scopes)
        preset = self.preset_of(held)
        if preset != "custom":
            return "Full access" if preset == "full" else "View only"
        if not held:
            return "No permissions"
        if self.full and held > frozenset(self.full):
            return "Full access, and " + _listed(sorted(held - frozenset(self.full)))
        return self._by_area(held)

    def _by_area(self, held: frozenset[str]) -> str:
        """The areas in which something is held, with the verbs where an area has several."""
        verbs: dict[str, list[str]] = {}
        for area in self.areas:
            for info in area.scopes:
                if info.name in held:
                    verbs.setdefault(area.name, []).append(info.verb)
        unknown = sorted(held - frozenset(self._placed))
        texts = [f"{area} ({', '.join(words)})" if any(words) else area for area, words in verbs.items()]
        texts += [cut(name, _LONGEST_NAME) for name in unknown]
        count = f"{len(texts)} areas: " if len(texts) > 1 else ""
        return count + _listed(texts)


# -- from routes to areas -----------------------------------------------------------------------------------


def _needing(reference: Reference) -> dict[str, list[Entry]]:
    """Every permission with the operations that name it."""
    needing: dict[str, list[Entry]] = {}
    for entry in reference.entries:
        for scope in entry.scopes:
            needing.setdefault(scope, []).append(entry)
    return needing


def _areas(needing: Mapping[str, list[Entry]]) -> tuple[Area, ...]:
    parts = {name: split(name) for name in needing}
    known = {area for verb, area in parts.values() if verb}
    areas: dict[str, list[ScopeInfo]] = {}
    for name, entries in needing.items():
        verb, area = parts[name]
        if name in known:
            # ``VerifyEmails`` beside ``ViewVerifyEmails``: the name of an area, and what is done there.
            area = name
        title = area if area == SENDING else readable(area)
        areas.setdefault(title, []).append(_info(name, verb, title, entries))
    made = (Area(title, tuple(sorted(infos, key=_by_verb))) for title, infos in areas.items())
    return tuple(sorted(made, key=lambda area: area.name.lower()))


def split(name: str) -> tuple[str, str]:
    """The verb of a permission (as in "View"; empty where there is none) and its area, as it is spelt."""
    if parts := _PARTED(name):
        for verb, area in ((parts[1], parts[2]), (parts[2], parts[1])):
            if verb.capitalize() in _DOES:
                return verb.capitalize(), area
    first = _CAMEL.match(name)
    if first is not None and first[0] in _DOES and len(first[0]) < len(name) and name[first.end()].isupper():
        return first[0], SENDING if name in _SPECIAL else name[first.end() :]
    return "", name


def readable(area: str) -> str:
    """``WebNotifications`` as "Web notifications"; abbreviations stay as they are."""
    found = _CAMEL.findall(area)
    if not found or len("".join(found)) != len(re.sub(r"[_\s-]", "", area)):
        return cut(area, _LONGEST_NAME)  # not made of words that we know to part
    words = [word if len(word) > 1 and word.isupper() else word.lower() for word in found]
    text = " ".join(words)
    return cut(text[0].upper() + text[1:], _LONGEST_NAME)


def _by_verb(info: ScopeInfo) -> tuple[int, str]:
    return _ORDER.get(info.verb.capitalize(), len(_ORDER)), info.name


def _info(name: str, verb: str, title: str, entries: list[Entry]) -> ScopeInfo:
    notes = tuple(OperationNote(entry.method, entry.path, entry.title, entry.slug) for entry in entries)
    shown = verb.lower() if name not in _SPECIAL else f"send over {name.removeprefix('Send').upper()}"
    return ScopeInfo(name, shown, _explained(name, verb, title, notes), notes)


def _explained(name: str, verb: str, title: str, notes: tuple[OperationNote, ...]) -> str:
    """What it lets a key do, and the first few calls that need it by name."""
    calls = list(dict.fromkeys(cut(note.title, _LONGEST_TEXT) for note in notes))
    does = _SPECIAL.get(name) or _does(name, verb, title)
    if not calls:
        return does + "."
    more = len(calls) - _EXAMPLES
    examples = ", ".join(calls[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
    return f"{does}: {examples}."


def _does(name: str, verb: str, title: str) -> str:
    if not verb or readable(name) == title:
        return title
    if title.partition(" ")[0] in _DOES:
        # "See verify emails" would be no sentence.
        return _DOES[verb].format(f"what is under “{title}”")
    return _DOES[verb].format(_in_sentence(title))


def _in_sentence(title: str) -> str:
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _listed(texts: list[str]) -> str:
    shown = ", ".join(texts[:_SHOWN_AREAS])
    return shown if len(texts) <= _SHOWN_AREAS else f"{shown} …"
