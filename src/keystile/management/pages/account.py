"""One's own account: the password, the sessions, and the management tokens (``tokens.py``).

Law: this file turns forms into calls of ``Access``; what is allowed is decided there.
"""

from __future__ import annotations

from aiohttp import web

from keystile.management.context import services
from keystile.management.entry import AccessRefused, SlowDown
from keystile.management.identity import account_of, client_address, origin_of
from keystile.management.pages import tokens
from keystile.management.pages.browsers import browser_of
from keystile.management.pages.key_forms import sentence
from keystile.management.pages.layout import posted, render
from keystile.management.pages.sign_in import begin, slow_down
from keystile.management.tokens import MOST_TOKENS
from keystile.storage.passwords import MAX_LENGTH, MIN_LENGTH

_DIFFERENT = "The two new passwords are not the same."


async def show(request: web.Request) -> web.Response:
    """Show the account."""
    return await _page(request)


async def change_password(request: web.Request) -> web.StreamResponse:
    """Set a new password; this browser goes on with a new session, all others are out."""
    identity, fields = account_of(request), await posted(request)
    new = fields.get("new", "")
    if new != fields.get("again", ""):
        return await _page(request, {"again": _DIFFERENT}, 422)
    try:
        answer = await services(request).access.change_password(
            identity,
            fields.get("current", ""),
            new,
            client_address(request),
            request.headers.get("User-Agent", ""),
            end_tokens="end_tokens" in fields,
            origin=origin_of(request),
        )
    except AccessRefused as refused:
        field = "new" if refused.code == "bad_password" else "current"
        return await _page(request, {field: sentence(refused.message)}, 422)
    if isinstance(answer, SlowDown):
        response = await _page(request, {"current": slow_down(answer)}, 429)
        response.headers["Retry-After"] = str(answer.retry_after)
        return response
    redirect = web.HTTPSeeOther("/account?done=password-changed")
    begin(request, redirect, answer)
    raise redirect


async def end_others(request: web.Request) -> web.StreamResponse:
    """Sign out everywhere but here."""
    identity = account_of(request)
    await services(request).access.end_other_sessions(identity, origin=origin_of(request))
    raise web.HTTPSeeOther("/account?done=sessions-ended")


async def _page(request: web.Request, faults: dict[str, str] | None = None, status: int = 200) -> web.Response:
    identity, access = account_of(request), services(request).access
    return render(
        request,
        "account.html",
        status=status,
        faults=faults or {},
        sessions=await access.sessions(identity.account),
        browser=browser_of,
        tokens=await access.tokens(identity.account),
        most_tokens=MOST_TOKENS,
        shortest=MIN_LENGTH,
        longest=MAX_LENGTH,
    )


def routes() -> list[web.RouteDef]:
    """The account's page and its forms."""
    return [
        web.get("/account", show),
        web.post("/account/password", change_password),
        web.post("/account/sessions/end", end_others),
        *tokens.routes(),
    ]
