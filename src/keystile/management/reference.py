"""The API's operations as people read them: each route with what its OpenAPI document says of it.

Law: the route table decides what there is and what it needs; documents only add words. A document is text from
elsewhere: nothing in it is followed out of it, believed or executed, and whatever is missing in one is left out.
What costs time (schemas, examples) is worked out for the page that shows it (``schema.py``).

Source: https://spec.openapis.org/oas/v3.1.0 (Operation Object).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keystile.config.model import Needs, Operation, Settings
from keystile.routing.conflicts import EVERY
from keystile.routing.plain import Plain, mapping, read_plain, sequence, words
from keystile.routing.route import Route
from keystile.routing.table import RouteTable, habits_of
from keystile.routing.template import BadTemplate, Template, parse_template

OTHER = "Other calls"
"""The tag of operations that say none."""
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_NO_LETTERS = re.compile(r"[^a-z0-9]+")
_LONGEST_SLUG = 80
_LONGEST_SUMMARY = 160
_LONGEST_TAG = 60
_Where = tuple[Template, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation: ``method`` (``*`` for every other one) and ``path`` as routed, and what is said of it.

    ``slug`` names it in our own addresses. ``said``: the Operation Object, ``shared``: the parameters of its path,
    ``root``: the document around it; all empty where no document tells of it.
    """

    slug: str
    method: str
    path: str
    needs: Needs
    upstream: str
    summary: str = ""
    tag: str = OTHER
    said: Mapping[str, Plain] = field(default_factory=dict, repr=False)
    shared: Sequence[Plain] = field(default=(), repr=False)
    root: Mapping[str, Plain] = field(default_factory=dict, repr=False)

    @property
    def scopes(self) -> tuple[str, ...]:
        """Every scope that it names, those needed always first."""
        return (*sorted(self.needs.all_of), *sorted(self.needs.any_of - self.needs.all_of))

    @property
    def title(self) -> str:
        """The summary, or method and path where there is none."""
        return self.summary or f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Tag:
    """A chapter of the reference: its name, what the document says of it, how many operations it has."""

    name: str
    description: str
    operations: int


@dataclass(frozen=True, slots=True)
class Reference:
    """All operations in the table's order, their chapters, and what the documents call themselves."""

    entries: tuple[Entry, ...] = ()
    tags: tuple[Tag, ...] = ()
    titles: tuple[str, ...] = ()

    def entry(self, slug: str) -> Entry | None:
        """The operation of that name."""
        return next((entry for entry in self.entries if entry.slug == slug), None)


def table_of(settings: Settings) -> RouteTable:
    """The route table of these settings."""
    return RouteTable(settings.operations, habits_of(settings.upstreams))


def read_reference(settings: Settings, documents: Mapping[Path, bytes]) -> Reference:
    """The reference from the route table and the documents' contents by absolute path (others than named are ignored).

    Blocking: parsing takes about 0.1 s for a document of 100 operations.
    """
    roots = {path: read_plain(documents[path]) for path in settings.documents if path in documents}
    told = _told(settings, roots)
    entries: list[Entry] = []
    slugs: Counter[str] = Counter()
    for route, method in table_of(settings).effective():
        entry = _entry(route, method, told.get((parse_template(route.path), method)))
        slugs[entry.slug] += 1
        count = slugs[entry.slug]
        # ``--`` cannot come about otherwise: a slug has single dashes only.
        entries.append(entry if count == 1 else replace(entry, slug=f"{entry.slug}--{count}"))
    said = (_tag_name(mapping(root.get("info")).get("title")) for root in roots.values())
    titles = tuple(title for title in said if title)
    return Reference(tuple(entries), _tags(entries, roots.values()), titles)


# -- which words belong to which route ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    """An operation as a document has it."""

    said: dict[str, Plain]
    shared: list[Plain]
    root: dict[str, Plain]


def _told(settings: Settings, roots: Mapping[Path, dict[str, Plain]]) -> dict[_Where, _Told]:
    """What documents say, by shape and method, so that a row which settles an operation has its words too."""
    rows: dict[int, list[Operation]] = {}
    for operation in settings.operations:
        rows.setdefault(operation.row, []).append(operation)
    told: dict[_Where, _Told] = {}
    for operations in rows.values():
        root = roots.get(_document_of(settings, operations[0]))
        if root is not None:
            for where, one in _of_document(root, _prefix(root, operations)):
                told.setdefault(where, one)
    return told


def _document_of(settings: Settings, operation: Operation) -> Path:
    """The file that an operation was read from: its source is a name relative to gateway.yaml, and a line."""
    name, colon, line = operation.source.rpartition(":")
    if not (colon and line.isdecimal()):
        name = operation.source
    return Path(os.path.normpath(settings.file.parent / name))


def _prefix(root: Mapping[str, Plain], operations: Sequence[Operation]) -> str | None:
    """What one row put before the paths of its document: with it, every operation of the row is one of those."""
    paths = [path for path in mapping(root.get("paths")) if path.startswith("/")]
    known = frozenset(paths)
    first = operations[0].path
    candidates = sorted({first[: -len(path)] for path in paths if first.endswith(path)}, key=len)
    for prefix in candidates:
        if all(each.path.startswith(prefix) and each.path[len(prefix) :] in known for each in operations):
            return prefix
    return None


def _of_document(root: dict[str, Plain], prefix: str | None) -> Iterable[tuple[_Where, _Told]]:
    if prefix is None:
        return
    for path, item in mapping(root.get("paths")).items():
        try:
            template = parse_template(prefix + path)
        except BadTemplate:
            continue
        members = mapping(item)
        for method in _METHODS:
            if isinstance(said := members.get(method), dict):
                yield (template, method.upper()), _Told(said, sequence(members.get("parameters")), root)


# -- entries and chapters -----------------------------------------------------------------------------------


def _entry(route: Route, method: str, told: _Told | None) -> Entry:
    bare = Entry(_slug(method, route.path), method, route.path, route.needs, route.upstream)
    if told is None:
        return bare
    summary = cut(" ".join(words(told.said.get("summary")).split()), _LONGEST_SUMMARY)
    tag = next((name for each in sequence(told.said.get("tags")) if (name := _tag_name(each))), OTHER)
    return replace(bare, summary=summary, tag=tag, said=told.said, shared=told.shared, root=told.root)


def _tag_name(value: Plain) -> str:
    return cut(" ".join(words(value).split()), _LONGEST_TAG)


def cut(text: str, most: int) -> str:
    """The text in at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _slug(method: str, path: str) -> str:
    """``get-v4-contacts-email``: the same after every restart, so links into the reference stay good."""
    text = f"{'any' if method == EVERY else method} {path}".lower()
    return _NO_LETTERS.sub("-", text).strip("-")[:_LONGEST_SLUG].rstrip("-")


def _tags(entries: Sequence[Entry], roots: Iterable[Mapping[str, Plain]]) -> tuple[Tag, ...]:
    """Chapters in the order in which documents list them, then as operations come; those without a tag last."""
    counts = Counter(entry.tag for entry in entries)
    said: dict[str, str] = {}
    for root in roots:
        for each in map(mapping, sequence(root.get("tags"))):
            said.setdefault(_tag_name(each.get("name")), words(each.get("description")))
    names = [name for name in dict.fromkeys((*said, *counts)) if counts[name] and name != OTHER]
    names += [OTHER] if counts[OTHER] else []
    return tuple(Tag(name, said.get(name, ""), counts[name]) for name in names)
