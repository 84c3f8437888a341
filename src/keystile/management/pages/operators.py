"""The gateway as its operators see it: how it does, and the route table.

Law: looking only; what is shown comes from ``look.py`` and the settings. Only operators get in. No client address and
nobody's key is shown here, only how many.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from keystile.management.context import services
from keystile.management.identity import operator_of
from keystile.management.pages import accounts, old_tls
from keystile.management.pages.layout import render
from keystile.management.pages.reference import page_of
from keystile.management.pages.usage import why
from keystile.management.reference import Entry

PAGE = 60
"""Routes on one page."""
SOON = 30 * 86400.0
"""Seconds before its end within which a certificate is marked."""
_LONGEST_QUESTION = 100
_CLASSES = {
    "1xx": "on the way (1xx)",
    "2xx": "done (2xx)",
    "3xx": "elsewhere (3xx)",
    "4xx": "the client’s fault (4xx)",
    "5xx": "failed (5xx)",
}


async def show_gateway(request: web.Request) -> web.Response:
    """Show how the gateway does at this moment."""
    operator_of(request)
    parts = services(request)
    status = await parts.look.status()
    return render(
        request,
        "operator.html",
        gateway=status,
        upstreams=await parts.look.upstreams(),
        accounts=len(await parts.keys.list_accounts()),
        keys=len(await parts.keys.list()),
        routes=len(parts.catalogue.reference.entries),
        answers=[(_CLASSES.get(name, name), count) for name, count in status.traffic.answers.items()],
        refused=_most_first({why(name.replace("_", "-")): count for name, count in status.traffic.refused.items()}),
        tls=_most_first(status.traffic.tls),
        has_old_tls=any(old_tls.endings(parts.settings, parts.clock())),
        soon=parts.clock() + SOON,
    )


async def show_routes(request: web.Request) -> web.Response:
    """Show the route table as it is used, or the rows in which all words of ``q`` occur."""
    operator_of(request)
    q = request.query.get("q", "").strip()[:_LONGEST_QUESTION]
    entries = services(request).catalogue.reference.entries
    found = [entry for entry in entries if _matches(entry, q)]
    page = page_of(request, len(found), PAGE)
    return render(
        request,
        "operator_routes.html",
        q=q,
        rows=found[page * PAGE : (page + 1) * PAGE],
        found=len(found),
        total=len(entries),
        page=page,
        more=len(found) > (page + 1) * PAGE,
    )


def _matches(entry: Entry, q: str) -> bool:
    public = "public" if entry.needs.public else ""
    text = f"{entry.method} {entry.path} {entry.upstream} {' '.join(entry.scopes)} {public}".lower()
    return all(word in text for word in q.lower().split())


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def routes() -> list[web.RouteDef]:
    """What operators see and do."""
    return [
        web.get("/operator", show_gateway),
        web.get("/operator/routes", show_routes),
        *accounts.routes(),
        *old_tls.routes(),
    ]
