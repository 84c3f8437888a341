"""Forms for somebody who has not signed in yet, and how they are kept from being sent by another site.

Law: such a form carries what follows from a cookie of its own, which no other site can read, nor (with ``__Host-``,
on TLS) set: "double submit". Without it a stranger's page could sign a browser in to the stranger's account, and
have somebody make keys there.
"""

from __future__ import annotations

import re
import secrets

from aiohttp import web

from keystile.management.entry import csrf_of
from keystile.management.identity import cookie_name, drop_cookie, same, sent_from_here, set_cookie
from keystile.management.pages.layout import posted, render

COOKIE = "keystile-form"
_VALUE = re.compile(r"[0-9a-f]{64}")


def show(request: web.Request, template: str, *, status: int = 200, **context: object) -> web.Response:
    """Answer with a page whose form ``is_ours`` will know again. One cookie serves the forms of all tabs."""
    known = _value(request)
    value = known or secrets.token_hex(32)
    response = render(request, template, status=status, form_csrf=csrf_of(value), **context)
    if known is None:
        set_cookie(request, response, value, COOKIE)
    return response


async def is_ours(request: web.Request) -> bool:
    """Whether the form that was sent came from a page of ours in this browser."""
    value = _value(request)
    given = (await posted(request)).get("csrf", "")
    return value is not None and same(given, csrf_of(value)) and sent_from_here(request)


def forget(request: web.Request, response: web.StreamResponse) -> None:
    """Have the browser forget the cookie: its forms have done their work."""
    drop_cookie(request, response, COOKIE)


def _value(request: web.Request) -> str | None:
    value = request.cookies.get(cookie_name(request, COOKIE), "")
    return value if _VALUE.fullmatch(value) else None
