"""Deleting a key, after naming what was used lately with it.

Law: the form is for one version of the key; altered meanwhile, the person decides anew.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import ApiKey
from keystile.keys.store import Recent
from keystile.management.context import services
from keystile.management.entry import Identity
from keystile.management.identity import account_of
from keystile.management.pages.asking import by, gone, own_key, version_of
from keystile.management.pages.happened import since_version
from keystile.management.pages.layout import posted, render

DAYS: Final = 7
"""How far back "lately" goes."""


async def show_form(request: web.Request) -> web.Response:
    """Ask whether the key is to be deleted."""
    identity = account_of(request)
    return await _form(request, identity, await own_key(request, identity))


async def delete(request: web.Request) -> web.Response:
    """Delete the key."""
    identity = account_of(request)
    key, fields = await own_key(request, identity), await posted(request)
    seen = version_of(fields.get("version", ""))
    try:
        await services(request).keys.delete(
            identity.account.email, key_id=key.id, version=seen, **by(request, identity)
        )
    except KeyRuleBroken as broken:
        if broken.code != "conflict":
            raise gone(request) from broken
        key = await own_key(request, identity)
        return await _form(request, identity, key, 409, await since_version(request, identity, key, seen))
    raise web.HTTPSeeOther("/keys?done=key-deleted")


async def _form(
    request: web.Request, identity: Identity, key: ApiKey, status: int = 200, events: tuple[object, ...] = ()
) -> web.Response:
    parts = services(request)
    since = int(parts.clock() // 3600) - 24 * DAYS
    recent = (await parts.keys.recent(identity.account.email, since)).get(key.id, Recent(0, 0))
    context = {"key": key, "events": events, "recent": recent, "days": DAYS}
    return render(request, "key_delete.html", status=status, **context)
