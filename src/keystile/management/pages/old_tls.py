"""Who still calls with a TLS version that ends, for operators, and for the owners of the keys.

Law: looking only. Addresses and keys are shown here because these people have to be told before their day; nobody but
operators and the owner sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keystile.config.model import Rehearsal, Settings
from keystile.keys.store import OldTlsUse
from keystile.management.context import Services, services
from keystile.management.identity import operator_of
from keystile.management.pages.layout import render

SINCE: Final = 30 * 86400.0
"""How far back one looks, in seconds: who has not come since has moved on, or will not notice."""
MOST: Final = 200
"""Rows on the page."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A listener that takes older versions for a time. ``rehearsals``: those to come, or running."""

    listener: str
    minimum_version: str
    retire_at: float
    rehearsals: tuple[Rehearsal, ...]
    over: bool


async def show_old_tls(request: web.Request) -> web.Response:
    """Show who they are, the latest first, and when it ends."""
    operator_of(request)
    parts = services(request)
    now = parts.clock()
    rows = await parts.store.old_tls(now - SINCE, MOST + 1)
    return render(
        request,
        "operator_old_tls.html",
        rows=rows[:MOST],
        more=len(rows) > MOST,
        endings=list(endings(parts.settings, now)),
    )


async def own_old_tls(parts: Services, account_id: str) -> tuple[OldTlsUse, ...]:
    """The latest of an account's own, while a day is still to come; nothing where nobody has to be told."""
    now = parts.clock()
    if all(ending.over for ending in endings(parts.settings, now)):
        return ()
    return await parts.store.old_tls(now - SINCE, 5, account_id)


def next_end(settings: Settings, now: float) -> float | None:
    """The first day to come on which older versions are refused for good, in Unix seconds."""
    return min((one.retire_at for one in endings(settings, now) if not one.over), default=None)


def endings(settings: Settings, now: float) -> Iterator[Ending]:
    """The listeners with older versions."""
    for listener in settings.listeners:
        legacy = None if listener.tls is None else listener.tls.legacy
        if legacy is not None:
            host = f"[{listener.host}]" if ":" in listener.host else listener.host
            to_come = tuple(one for one in legacy.rehearsals if one.end > now)
            over = legacy.retire_at <= now
            yield Ending(f"{host}:{listener.port}", legacy.minimum_version, legacy.retire_at, to_come, over)


def routes() -> list[web.RouteDef]:
    """The page."""
    return [web.get("/operator/old-tls", show_old_tls)]
