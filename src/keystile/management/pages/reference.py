"""The API reference: chapters, lists of operations, and a page for each operation.

Law: this file chooses what is shown and sees to it that a page stays small whatever a document holds; what documents
say is read by ``reference.py`` and ``schema.py``, and leaves through ``prose.py`` or Jinja2's escaping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keystile.management.context import services
from keystile.management.curl import curl
from keystile.management.identity import account_of
from keystile.management.pages.layout import missing, render
from keystile.management.prose import prose
from keystile.management.reference import Entry, Reference
from keystile.management.schema import Room, details

PAGE: Final = 30
"""Operations, or chapters, on one page."""
LARGEST: Final = 48 * 1024
"""Bytes of an operation's page, above which less of it is shown."""
_LONGEST_QUESTION: Final = 100


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: words (each must occur), a permission, a chapter; nothing asked for is everything."""

    q: str = ""
    scope: str = ""
    tag: str = ""

    @classmethod
    def of(cls, request: web.Request) -> Search:
        """What the query says."""
        asked = (request.query.get(name, "").strip() for name in ("q", "scope", "tag"))
        return cls(*(text[:_LONGEST_QUESTION] for text in asked))

    @property
    def asked(self) -> bool:
        """Whether anything is looked for."""
        return bool(self.q or self.scope or self.tag)

    def finds(self, entry: Entry) -> bool:
        """Whether an operation is meant."""
        if (self.scope and self.scope not in entry.scopes) or (self.tag and self.tag != entry.tag):
            return False
        text = f"{entry.method} {entry.path} {entry.summary} {entry.tag} {' '.join(entry.scopes)}".lower()
        return all(word in text for word in self.q.lower().split())


async def show_reference(request: web.Request) -> web.Response:
    """Show the chapters, or the operations that are looked for."""
    account_of(request)
    catalogue = services(request).catalogue
    reference = await catalogue.read()
    search = Search.of(request)
    found = [entry for entry in reference.entries if search.finds(entry)] if search.asked else []
    chapters = () if search.asked else reference.tags
    page = page_of(request, len(found) or len(chapters), PAGE)
    here = slice(page * PAGE, (page + 1) * PAGE)
    return render(
        request,
        "reference.html",
        search=search,
        about=next((tag.description for tag in reference.tags if tag.name == search.tag), ""),
        permission=catalogue.info(search.scope),
        titles=reference.titles[:3],
        total=len(reference.entries),
        found=len(found),
        entries=found[here],
        chapters=chapters[here],
        page=page,
        more=max(len(found), len(chapters)) > (page + 1) * PAGE,
    )


async def show_operation(request: web.Request) -> web.Response:
    """Show one operation; with less and less of what its document says where that would be too long."""
    account_of(request)
    reference = await services(request).catalogue.read()
    entry = reference.entry(request.match_info["slug"])
    if entry is None:
        raise missing(request, "There is no such operation", "The API may have changed. Look for it in the reference.")
    room = Room()
    response = _operation(request, reference, entry, room)
    while len((response.text or "").encode()) > LARGEST and room.rows:
        room = room.less()
        response = _operation(request, reference, entry, room)
    return response


def _operation(request: web.Request, reference: Reference, entry: Entry, room: Room) -> web.Response:
    said = details(entry, room)
    host = request.url.host or ""
    return render(
        request,
        "reference_operation.html",
        entry=entry,
        said=said,
        description=prose(said.description),
        line=curl(entry, said, services(request).settings, host),
    )


def page_of(request: web.Request, count: int, size: int) -> int:
    """The page that the query asks for, from 0; the last where there are fewer."""
    text = request.query.get("page", "")
    asked = int(text) - 1 if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return max(0, min(asked, (count - 1) // size))


def routes() -> list[web.RouteDef]:
    """The reference."""
    return [web.get("/reference", show_reference), web.get("/reference/{slug}", show_operation)]
