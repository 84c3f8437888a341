"""Usage: what was asked with each key by hour, and what the gateway refused and why.

Law: this file asks for sums and hands charts to a template; how they are drawn stands in ``chart.py``. Somebody
sees only keys of their own account; a key of another is one that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keystile.keys.key import ApiKey
from keystile.management import chart
from keystile.management.chart import Chart, Series, Sum
from keystile.management.context import services
from keystile.management.identity import account_of
from keystile.management.pages.layout import missing, render

PERIODS: Final = (1, 7, 30)
"""Days that may be looked at."""
USUAL: Final = 7
_FINE: Final = {1: 1, 7: 1, 30: 6}
_COARSE: Final = {1: 1, 7: 6, 30: 24}
"""Hours of a step by period: for a key or two in use, and where a page has more (each with its table of numbers)."""
FEW: Final = 2
PAGE: Final = 6
"""Keys on one page."""
WHY: Final[Mapping[str, str]] = {
    "bad-request": "the request was not well-formed",
    "bad-version": "the version of HTTP is not served",
    "bad-path": "the path was not well-formed",
    "ambiguous-path": "the path could be read in two ways",
    "two-keys": "more than one API key was sent",
    "address-not-allowed": "sent from an address that the key may not be used from",
    "tls-too-old": "sent over a version of TLS that is not accepted any more",
    "key-in-clear": "sent without TLS, where others could read the key",
    "scope-missing": "the key lacked a permission",
    "not-found": "no operation has this path",
    "method-not-allowed": "the path has no operation with this method",
    "request-timeout": "the request took too long to arrive",
    "body-too-slow": "the body came too slowly",
    "answer-too-slow": "the answer was read too slowly",
    "body-too-large": "the body was too large",
    "target-too-long": "the address was too long",
    "unknown-expectation": "the request expected something that is not served",
    "websocket-version": "the version of WebSocket is not served",
    "too-many-at-once": "too many requests at once from one address",
    "too-many-connections": "too many connections at once",
    "head-too-large": "the request’s head was too large",
    "internal-error": "the gateway failed",
    "not-implemented": "the request used something that is not served",
    "upstream-unreachable": "the API could not be reached",
    "upstream-broken": "the API gave no readable answer",
    "out-of-time": "the request took longer than it may",
    "connect-timeout": "the API could not be reached in time",
    "keys-unavailable": "the gateway could not read its keys",
    "no-server": "no server of the API was well",
    "servers-busy": "the servers of the API were busy",
    "count-unavailable": "the gateway could not count the requests over all its hosts",
    "overloaded": "the gateway was overloaded",
    "draining": "the gateway was stopping",
}
"""Problem types in plain words; others are shown as they are."""


@dataclass(frozen=True, slots=True)
class Used:
    """One key and what was asked with it. ``steps``: those with requests, for the table of numbers."""

    key: ApiKey
    series: Series
    drawn: Chart

    @property
    def steps(self) -> tuple[chart.Step, ...]:
        """The steps in which something was asked."""
        return tuple(step for step in self.series.steps if step.requests)


async def show_usage(request: web.Request) -> web.Response:
    """Show the keys' charts; ``days`` and ``key`` (an id) in the query choose."""
    identity, parts = account_of(request), services(request)
    days = _days(request.query.get("days", ""))
    keys = list(await parts.keys.list(identity.account.email))
    chosen = request.query.get("key")
    if chosen is not None:
        keys = [key for key in keys if key.id == chosen]
        if not keys:
            raise missing(request, "There is no such API key", "It may have been deleted meanwhile.")
    page = _page(request.query.get("page", ""), len(keys))
    shown = keys[page * PAGE : (page + 1) * PAGE]
    hours = chart.window(int(parts.clock() // 3600), days)
    sums = await parts.store.usage_of([key.id for key in shown], hours.start)
    width = (_FINE if len({key for key, *_ in sums}) <= FEW else _COARSE)[days]
    return render(
        request,
        "usage.html",
        used=used(shown, sums, hours, width),
        days=days,
        periods=PERIODS,
        step=chart.step_text(width),
        why=why,
        chart=chart,
        page=page,
        pages=-(-len(keys) // PAGE),
        chosen=chosen,
        closer=chosen is None and width != _FINE[days],
    )


def used(keys: Iterable[ApiKey], sums: Iterable[Sum], hours: range, width: int) -> list[Used]:
    """Each key with its chart."""
    by_key: dict[str, list[Sum]] = {}
    for each in sums:
        by_key.setdefault(each[0], []).append(each)
    found = ((key, chart.series(by_key.get(key.id, ()), hours, width)) for key in keys)
    return [Used(key, figures, chart.draw(figures)) for key, figures in found]


def why(slug: str) -> str:
    """A problem type in plain words."""
    return WHY.get(slug, slug.replace("-", " "))


def _days(text: str) -> int:
    return next((days for days in PERIODS if text == str(days)), USUAL)


def _page(text: str, keys: int) -> int:
    """The page that was asked for, from 0; the last where there are fewer."""
    last = max(0, (keys - 1) // PAGE)
    return min(int(text) - 1, last) if text.isascii() and text.isdigit() and 0 < len(text) < 6 and int(text) else 0


def routes() -> list[web.RouteDef]:
    """The page."""
    return [web.get("/usage", show_usage)]
