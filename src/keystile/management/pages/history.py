"""What has happened to an account's keys and credentials, newest first.

Law: this file reads the audit table, which holds no secrets, and changes nothing.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from keystile.management.context import services
from keystile.management.identity import account_of
from keystile.management.pages.happened import told
from keystile.management.pages.layout import render

PAGE: Final = 40
"""Events on one page."""


async def show_history(request: web.Request) -> web.Response:
    """Show a page of events; ``before`` in the query: only older ones than the event of that number."""
    identity, parts = account_of(request), services(request)
    before = _number(request.query.get("before", ""))
    # One more than is shown says whether there are older ones.
    events = await parts.keys.events(PAGE + 1, before, account=identity.account.email)
    shown = [told(event, identity.account.email, parts.catalogue.describe) for event in events[:PAGE]]
    older = events[PAGE - 1].seq if len(events) > PAGE else None
    return render(request, "history.html", events=shown, older=older, newest=before is None)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def routes() -> list[web.RouteDef]:
    """The history."""
    return [web.get("/history", show_history)]
