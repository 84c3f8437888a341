"""What every page has in common: templates, the frame around them, static files, how moments are written.

Law: this file turns a template and values into an answer. It decides nothing about keys or accounts, and a page
gets no text into HTML but through Jinja2's escaping. Nothing is loaded from elsewhere, nothing stands inline:
the pages live under a Content-Security-Policy that allows neither.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from multidict import MultiDict

from keystile.management.context import services
from keystile.management.identity import identity_of
from keystile.management.pages import writing
from keystile.management.pages.messages import DONE

_HERE = Path(__file__).parent.parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file under ``/static/``.

    ``version`` is part of its address, so browsers may keep it for ever; ``small`` is the body in gzip, which nothing
    secret is near, so that its length tells nothing.
    """

    body: bytes
    small: bytes
    content_type: str
    version: str


def _static_files(folder: Path) -> Mapping[str, StaticFile]:
    """Read them all once: small, few, and the same until the package is another."""
    found = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in _TYPES:
            body = file.read_bytes()
            small = gzip.compress(body, 9, mtime=0)
            found[file.name] = StaticFile(body, small, _TYPES[file.suffix], hashlib.sha256(body).hexdigest()[:12])
    return found


STATIC = _static_files(_HERE / "static")


def asset(name: str) -> str:
    """The address of a static file; KeyError where there is none of that name."""
    return f"/static/{name}?v={STATIC[name].version}"


def environment() -> Environment:
    """Jinja2 as every page uses it: escaping always on, and a value that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        moment=writing.moment, day=writing.day, ago=writing.ago, hint=writing.hint, shown=writing.shown
    )
    made.globals["asset"] = asset
    return made


_TEMPLATES = environment()


def render(request: web.Request, template: str, *, status: int = 200, **context: object) -> web.Response:
    """Answer with a template inside the frame.

    Every template has ``identity`` (None where nobody is signed in), ``csrf``, ``path``, ``now`` (Unix seconds)
    and ``done`` (what has just been done, from a fixed code in the query).
    """
    identity = identity_of(request)
    common: dict[str, object] = {
        "identity": identity,
        "csrf": "" if identity is None else identity.csrf,
        "path": request.path,
        "now": services(request).clock(),
        "done": DONE.get(request.query.get("done", "")),
    }
    text = _TEMPLATES.get_template(template).render(common | context)
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def refuse(request: web.Request, status: int, title: str, text: str) -> web.Response:
    """Answer with a page that says what is wrong, and leads back."""
    return render(request, "error.html", status=status, title=title, text=text)


def missing(request: web.Request, title: str, text: str) -> web.HTTPNotFound:
    """Return what to raise where there is nothing (or nothing of this account) at an address."""
    page = render(request, "error.html", status=404, title=title, text=text)
    return web.HTTPNotFound(text=page.text, content_type="text/html", headers={"Cache-Control": "no-store"})


async def posted(request: web.Request) -> MultiDict[str]:
    """Return the fields of a form, all values of each; HTTPBadRequest where the body is none. Files are left out."""
    try:
        fields = await request.post()
    except (LookupError, ValueError, HttpProcessingError):  # unknown charset, no text, broken parts
        raise web.HTTPBadRequest(text="this is not a form that can be read\n") from None
    return MultiDict((name, value) for name, value in fields.items() if isinstance(value, str))


async def _static(request: web.Request) -> web.Response:
    found = STATIC.get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound(text="there is no such file\n")
    fresh = request.query.get("v") == found.version
    headers = {"Cache-Control": _FOR_EVER if fresh else "no-cache", "Vary": "Accept-Encoding"}
    body = found.body
    if _GZIP.search(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"], body = "gzip", found.small
    return web.Response(body=body, content_type=found.content_type, charset="utf-8", headers=headers)


def routes() -> list[web.RouteDef]:
    """The static files."""
    return [web.get("/static/{name}", _static)]
