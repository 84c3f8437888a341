"""Editing a key: name, permissions, restriction, expiry.

Law: a form carries the values that it was opened with, so that when somebody else has saved meanwhile, what was not
touched here takes what they saved, and what was touched stays as typed, with theirs told beside it. Nothing is lost
silently.
"""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web
from multidict import MultiMapping

from keystile.keys.answers import UNCHANGED
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import ApiKey
from keystile.management.catalogue import Catalogue
from keystile.management.context import services
from keystile.management.entry import Identity
from keystile.management.identity import account_of
from keystile.management.pages.asking import by, gone, own_key, version_of
from keystile.management.pages.happened import since_version
from keystile.management.pages.key_forms import (
    Faults,
    Typed,
    Wanted,
    entries,
    faults_of,
    judge,
    scopes_of,
    typed,
    typed_of,
)
from keystile.management.pages.key_page import form_page
from keystile.management.pages.layout import posted

Remarks = dict[str, str]


async def show_form(request: web.Request) -> web.Response:
    """Show the form as the key is now."""
    key = await own_key(request, account_of(request))
    return await _form(request, key, typed_of(key, services(request).catalogue), {})


async def save(request: web.Request) -> web.Response:
    """Save; or show the form again with what is wrong, or with what was saved meanwhile."""
    identity, parts = account_of(request), services(request)
    key, fields = await own_key(request, identity), await posted(request)
    form = typed(fields)
    if version_of(fields.get("version", "")) != key.version:
        return await _conflict(request, identity, key, fields)
    wanted = judge(form, parts.catalogue, parts.clock(), key.expires)
    if not isinstance(wanted, Wanted):
        return await _form(request, key, form, wanted, status=422)
    try:
        kept = await _edit(request, identity, key, wanted)
    except KeyRuleBroken as broken:
        if broken.code == "conflict":  # between our look and the transaction
            return await _conflict(request, identity, await own_key(request, identity), fields)
        if broken.code == "no_such_key":
            raise gone(request) from broken
        return await _form(request, key, form, faults_of(broken), status=422)
    raise web.HTTPSeeOther("/keys?done=" + ("key-unchanged" if kept.version == key.version else "key-edited"))


async def _edit(request: web.Request, identity: Identity, key: ApiKey, wanted: Wanted) -> ApiKey:
    kept = await services(request).keys.edit(
        identity.account.email,
        key_id=key.id,
        new_name=wanted.name,
        scopes=wanted.scopes,
        networks=wanted.networks,
        # As it was it may lie in the past, which nobody may set anew.
        expires=UNCHANGED if wanted.expires == key.expires else wanted.expires,
        version=key.version,
        **by(request, identity),
    )
    return kept.key


async def _conflict(request: web.Request, identity: Identity, key: ApiKey, fields: MultiMapping[str]) -> web.Response:
    """Show what was saved meanwhile, with everything that was typed here."""
    catalogue = services(request).catalogue
    events = await since_version(request, identity, key, version_of(fields.get("version", "")))
    form, remarks = merged(_opened_with(fields), typed(fields), typed_of(key, catalogue), catalogue)
    return await _form(request, key, form, {}, status=409, remarks=remarks, events=events)


def merged(opened: Typed, mine: Typed, theirs: Typed, catalogue: Catalogue) -> tuple[Typed, Remarks]:
    """Return the fields to go on with, and by field what the other one saved where both touched it.

    Permissions count as one field, compared by the list that is behind a preset.
    """
    form, remarks = mine, Remarks()
    facts = {
        "name": (opened.name, mine.name.strip(), theirs.name),
        "access": tuple(scopes_of(each, catalogue) for each in (opened, mine, theirs)),
        "networks": tuple(entries(each.networks) for each in (opened, mine, theirs)),
        "expires": (opened.expires, mine.expires, theirs.expires),
    }
    for field, (before, here, there) in facts.items():
        if here == before:
            form = _with(form, field, theirs)
        elif there not in (before, here):
            remarks[field] = _told(field, theirs, catalogue)
    return form, remarks


def _with(form: Typed, field: str, theirs: Typed) -> Typed:
    if field == "access":
        return replace(form, access=theirs.access, chosen=theirs.chosen)
    return replace(form, **{field: getattr(theirs, field)})


def _told(field: str, theirs: Typed, catalogue: Catalogue) -> str:
    if field == "access":
        return catalogue.describe(scopes_of(theirs, catalogue))
    nothing = {"networks": "usable from everywhere", "expires": "never expires"}
    return ", ".join(str(getattr(theirs, field)).split("\n")) or nothing.get(field, "nothing")


def _opened_with(fields: MultiMapping[str]) -> Typed:
    return Typed(
        name=fields.get("was_name", ""),
        access="custom",
        chosen=frozenset(fields.get("was_scopes", "").split()),
        networks=fields.get("was_networks", "").replace(" ", "\n"),
        expires=fields.get("was_expires", ""),
    )


async def _form(
    request: web.Request,
    key: ApiKey,
    form: Typed,
    faults: Faults,
    *,
    status: int = 200,
    remarks: Remarks | None = None,
    events: tuple[object, ...] = (),
) -> web.Response:
    was = typed_of(key, services(request).catalogue)
    return await form_page(
        request, "key_edit.html", form, faults, status=status, remarks=remarks, key=key, was=was, events=events
    )
