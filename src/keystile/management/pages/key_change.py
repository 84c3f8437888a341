"""Changing a key: a new secret, while everything else about it stays.

Law: as in ``key_new.py``, the new secret stands in one answer only. The form is for one version of the key: when
somebody else has altered it meanwhile, the person decides anew, and no secret that was just handed out is ended unseen.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from keystile.keys.answers import Created
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import ApiKey
from keystile.management.context import services
from keystile.management.entry import Identity
from keystile.management.identity import account_of
from keystile.management.pages import once
from keystile.management.pages.asking import by, gone, own_key, version_of
from keystile.management.pages.happened import since_version
from keystile.management.pages.key_new import replay, show_once
from keystile.management.pages.layout import posted, render

OVERLAPS: Final = {"0": "At once", "3600": "After 1 hour", "86400": "After 24 hours", "604800": "After 7 days"}
"""Seconds for which the old key goes on working, as the form has them, with words."""


async def show_form(request: web.Request) -> web.Response:
    """Ask whether the key is to be changed."""
    key = await own_key(request, account_of(request))
    return _form(request, key, once.new_form())


async def change(request: web.Request) -> web.Response:
    """Change the key and show it once."""
    identity, fields = account_of(request), await posted(request)
    overlap = fields.get("overlap", "0")
    async with once.Turn(request, identity, fields.get("form", "")) as turn:
        if not turn.first:
            return replay(request)
        key = await own_key(request, identity)
        seen = version_of(fields.get("version", ""))
        if overlap not in OVERLAPS:
            return _form(request, key, turn.number, status=422, faults={"overlap": ("Choose when the old key stops.",)})
        try:
            created = await _change(request, identity, key, float(overlap), seen)
        except KeyRuleBroken as broken:
            return await _otherwise(request, identity, broken, seen, turn.number, overlap)
        await turn.done(key.id)
    ends = "has stopped working" if overlap == "0" else f"stops working {OVERLAPS[overlap].lower()}"
    return show_once(request, created, "key-changed", key.hint, ends)


async def _change(request: web.Request, identity: Identity, key: ApiKey, overlap: float, seen: int) -> Created:
    return await services(request).keys.change(
        identity.account.email, overlap=overlap, key_id=key.id, version=seen, **by(request, identity)
    )


async def _otherwise(
    request: web.Request, identity: Identity, broken: KeyRuleBroken, seen: int, number: str, overlap: str
) -> web.Response:
    """Answer where the key is not as the form knew it."""
    if broken.code != "conflict":
        raise gone(request) from broken
    key = await own_key(request, identity)
    events = await since_version(request, identity, key, seen)
    return _form(request, key, number, status=409, events=events, overlap=overlap)


def _form(request: web.Request, key: ApiKey, number: str, status: int = 200, **more: object) -> web.Response:
    common: dict[str, object] = {"faults": {}, "events": (), "overlap": "0"}
    context = common | more | {"key": key, "number": number, "overlaps": OVERLAPS}
    return render(request, "key_change.html", status=status, **context)
