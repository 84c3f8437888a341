"""Signing in, signing out, and the page of a one-time link (``link.py``).

Law: this file turns forms into calls of ``Access`` and its answers into pages. What is wrong is said in one sentence,
the same whether there is such an account or not. A password is never shown again.
"""

from __future__ import annotations

from aiohttp import web

from keystile.management.access import LONGEST_SESSION
from keystile.management.context import services
from keystile.management.entry import SignedIn, SlowDown
from keystile.management.identity import (
    account_of,
    client_address,
    drop_cookie,
    identity_of,
    local_path,
    origin_of,
    set_cookie,
)
from keystile.management.pages import first_form, link
from keystile.management.pages.layout import posted

_WRONG = "E-mail address and password do not go together."
_AGAIN = "This page had been open for too long, or was not opened here. Please try once more."
# A 401 has to name a way to sign in; browsers leave schemes that they do not know to the page.
_CHALLENGE = {"WWW-Authenticate": 'Cookie form-action="/sign-in"'}


async def show_form(request: web.Request) -> web.StreamResponse:
    """Show the form, or go on where somebody has signed in already."""
    after = local_path(request.query.get("next"))
    if identity_of(request):
        raise web.HTTPSeeOther(after)
    return _form(request, after)


async def sign_in(request: web.Request) -> web.StreamResponse:
    """Begin a session, under a new secret in any case."""
    fields = await posted(request)
    after, email = local_path(fields.get("next")), fields.get("email", "")
    if not await first_form.is_ours(request):
        return _form(request, after, email, _AGAIN, 403)
    access, address = services(request).access, client_address(request)
    agent = request.headers.get("User-Agent", "")
    answer = await access.sign_in(email, fields.get("password", ""), address, agent, origin=origin_of(request))
    if isinstance(answer, SlowDown):
        return _form(request, after, email, slow_down(answer), 429, {"Retry-After": str(answer.retry_after)})
    if answer is None:
        return _form(request, after, email, _WRONG, 401, _CHALLENGE)
    before = identity_of(request)
    if before is not None:
        await access.sign_out(before, origin=origin_of(request))
    response = web.HTTPSeeOther(after)
    begin(request, response, answer)
    first_form.forget(request, response)
    raise response


async def sign_out(request: web.Request) -> web.StreamResponse:
    """End the session, here and in the browser."""
    await services(request).access.sign_out(account_of(request), origin=origin_of(request))
    response = web.HTTPSeeOther("/sign-in?done=signed-out")
    drop_cookie(request, response)
    raise response


def begin(request: web.Request, response: web.StreamResponse, signed_in: SignedIn) -> None:
    """Give the browser its new session."""
    set_cookie(request, response, signed_in.secret, max_age=int(LONGEST_SESSION))


def slow_down(answer: SlowDown) -> str:
    """Say for how long attempts are not looked at."""
    seconds = answer.retry_after
    count, unit = (seconds, "second") if seconds < 60 else ((seconds + 59) // 60, "minute")
    wait = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"Too many attempts have failed. Wait {wait}, then try again."


def _form(
    request: web.Request,
    after: str,
    email: str = "",
    fault: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> web.Response:
    response = first_form.show(request, "sign_in.html", status=status, email=email[:254], after=after, fault=fault)
    response.headers.update(headers or {})
    return response


def routes() -> list[web.RouteDef]:
    """Sign-in, sign-out, one-time links."""
    return [
        web.get("/sign-in", show_form),
        web.post("/sign-in", sign_in),
        web.post("/sign-out", sign_out),
        *link.routes(),
    ]
