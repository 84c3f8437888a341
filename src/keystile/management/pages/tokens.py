"""Management tokens on a page: making one, the one answer that shows it, deleting it.

Law: as for API keys, the secret stands in the answer to the POST that made it and nowhere else, and a form that is
sent again makes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken
from keystile.management.context import services
from keystile.management.entry import AccessRefused, Identity
from keystile.management.identity import account_of
from keystile.management.pages import once
from keystile.management.pages.asking import by
from keystile.management.pages.key_forms import sentence
from keystile.management.pages.layout import missing, posted, render
from keystile.storage.access import ManagementToken

USUAL_DAYS = 90
"""Days after which a token expires unless something else is chosen: long enough for a job, short enough to be seen."""


async def show_form(request: web.Request) -> web.Response:
    """Show the empty form."""
    account_of(request)
    return _form(request, "", _day(request, USUAL_DAYS), {}, once.new_form())


async def create(request: web.Request) -> web.Response:
    """Make the token and show it once; or show the form again with what is wrong."""
    identity, fields = account_of(request), await posted(request)
    name, day = fields.get("name", ""), fields.get("expires", "").strip()
    async with once.Turn(request, identity, fields.get("form", "")) as turn:
        if not turn.first:
            return render(request, "token_replay.html", status=409)
        try:
            expires = _expiry(day)
            access = services(request).access
            token, secret = await access.create_token(identity, name, expires, **by(request, identity))
        except (KeyRuleBroken, AccessRefused) as refused:
            fault = _fault(refused, name)
            return _form(request, name, day, fault, turn.number, 422)
        await turn.done(token.id)
    return render(request, "token_shown.html", token=token, secret=secret)


async def show_delete(request: web.Request) -> web.Response:
    """Ask whether the token is to be deleted."""
    identity = account_of(request)
    return render(request, "token_delete.html", token=await _own(request, identity))


async def delete(request: web.Request) -> web.Response:
    """Delete the token."""
    identity = account_of(request)
    token = await _own(request, identity)
    try:
        await services(request).access.delete_token(identity, token.id, **by(request, identity))
    except AccessRefused as refused:
        raise _gone(request) from refused
    raise web.HTTPSeeOther("/account?done=token-deleted")


async def _own(request: web.Request, identity: Identity) -> ManagementToken:
    wanted = request.match_info["id"]
    for token in await services(request).access.tokens(identity.account):
        if token.id == wanted:
            return token
    raise _gone(request)


def _gone(request: web.Request) -> web.HTTPNotFound:
    text = "It may have been deleted meanwhile. Your account shows what there is."
    return missing(request, "There is no such token", text)


def _expiry(day: str) -> float | None:
    if not day:
        return None
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise KeyRuleBroken("bad_expiry", "write the date as year-month-day, such as 2027-01-31") from None


def _fault(refused: KeyRuleBroken | AccessRefused, name: str) -> dict[str, tuple[str, ...]]:
    if refused.code == "bad_name" and not name.strip():
        return {"name": ("A token needs a name.",)}
    field = {"bad_name": "name", "bad_expiry": "expires", "expiry_in_the_past": "expires"}.get(refused.code, "form")
    return {field: (sentence(refused.message),)}


def _day(request: web.Request, days: int) -> str:
    return (datetime.fromtimestamp(services(request).clock(), UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def _form(
    request: web.Request, name: str, day: str, faults: dict[str, tuple[str, ...]], number: str, status: int = 200
) -> web.Response:
    context = {"name": name, "expires": day, "faults": faults, "number": number, "first_day": _day(request, 1)}
    return render(request, "token_new.html", status=status, **context)


def routes() -> list[web.RouteDef]:
    """Pages and forms of tokens."""
    return [
        web.get("/account/tokens/new", show_form),
        web.post("/account/tokens/new", create),
        web.get("/account/tokens/{id}/delete", show_delete),
        web.post("/account/tokens/{id}/delete", delete),
    ]
