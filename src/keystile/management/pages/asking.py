"""Who asks, and for which key: what every change of a key starts with.

Law: a key of another account is one that is not there; nothing tells the two apart.
"""

from __future__ import annotations

from typing import TypedDict

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import ApiKey
from keystile.management.context import services
from keystile.management.entry import Identity
from keystile.management.identity import actor, origin_of
from keystile.management.pages.layout import missing


class By(TypedDict):
    """What the services want to know for the audit table."""

    actor: str
    origin: str


def by(request: web.Request, identity: Identity) -> By:
    """Return who asks, and from where."""
    return {"actor": actor(identity), "origin": origin_of(request)}


async def own_key(request: web.Request, identity: Identity) -> ApiKey:
    """Return the key that the path names; raises HTTPNotFound, as a page, where the account has none such."""
    try:
        return await services(request).keys.find(identity.account.email, request.match_info["id"])
    except KeyRuleBroken as broken:
        raise gone(request) from broken


def gone(request: web.Request) -> web.HTTPNotFound:
    """Return what to raise where the key is not there, or not any more."""
    text = "It may have been deleted meanwhile. Your list shows what there is."
    return missing(request, "There is no such API key", text)


def version_of(text: str) -> int:
    """Return the version that a form was made for; 0, which no key has, where it names none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
