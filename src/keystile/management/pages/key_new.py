"""Making a key, and the one answer that shows it.

Law: the secret stands in the answer to the POST that made it and nowhere else: that answer is no redirect, is not
kept by anybody, and the same form sent again makes nothing and shows nothing.
"""

from __future__ import annotations

from aiohttp import web

from keystile.keys.answers import Created, Unchanged
from keystile.keys.errors import KeyRuleBroken
from keystile.management.context import services
from keystile.management.identity import account_of
from keystile.management.pages import once
from keystile.management.pages.asking import by
from keystile.management.pages.key_forms import Faults, Typed, Wanted, faults_of, judge, typed
from keystile.management.pages.key_page import form_page
from keystile.management.pages.layout import posted, render


async def show_form(request: web.Request) -> web.Response:
    """Show the empty form, or why there is no room for another key."""
    identity, parts = account_of(request), services(request)
    owned, limit = len(await parts.keys.list(identity.account.email)), parts.settings.keys.per_account
    if owned >= limit:
        return render(request, "key_no_room.html", limit=limit)
    return await _form(request, Typed(), {}, once.new_form())


async def create(request: web.Request) -> web.Response:
    """Make the key and show it once; or show the form again with what is wrong."""
    identity, parts = account_of(request), services(request)
    fields = await posted(request)
    form = typed(fields)
    async with once.Turn(request, identity, fields.get("form", "")) as turn:
        if not turn.first:
            return replay(request)
        wanted = judge(form, parts.catalogue, parts.clock())
        if not isinstance(wanted, Wanted):
            return await _form(request, form, wanted, turn.number, 422)
        try:
            created = await parts.keys.create(
                identity.account.email,
                wanted.name,
                wanted.scopes,
                wanted.networks,
                None if isinstance(wanted.expires, Unchanged) else wanted.expires,
                **by(request, identity),
            )
        except KeyRuleBroken as broken:
            return await _form(request, form, faults_of(broken), turn.number, 422)
        await turn.done(created.key.id)
    return show_once(request, created, "key-created")


def show_once(
    request: web.Request, created: Created, done: str, old_hint: str | None = None, ends: str = ""
) -> web.Response:
    """Show a key. ``done``: what the list says afterwards; ``ends``: what becomes of the old key, if there was one."""
    headers = services(request).settings.keys.headers
    field = f"{headers[0]}: Bearer" if headers[0].lower() == "authorization" else headers[0]
    return render(
        request,
        "key_shown.html",
        created=created,
        key=created.key,
        next_done=done,
        field=field,
        old_hint=old_hint,
        ends=ends,
    )


def replay(request: web.Request) -> web.Response:
    """Say that this form has done its work already."""
    return render(request, "key_replay.html", status=409)


async def _form(request: web.Request, form: Typed, faults: Faults, number: str, status: int = 200) -> web.Response:
    return await form_page(request, "key_new.html", form, faults, status=status, number=number)
