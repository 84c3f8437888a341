"""The page of a one-time link: a new password for an account, or the first operator's account.

Law: looking at the page uses nothing up, since programs follow links in messages; sending its form does. The token
goes from the query into the form, and into no log, no redirect and no Referer (the pages send none).
"""

from __future__ import annotations

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken
from keystile.management.context import services
from keystile.management.entry import AccessRefused
from keystile.management.identity import client_address, drop_cookie, identity_of
from keystile.management.pages import first_form
from keystile.management.pages.key_forms import sentence
from keystile.management.pages.layout import posted, refuse
from keystile.storage.passwords import MAX_LENGTH, MIN_LENGTH

_AGAIN = "This page had been open for too long, or was not opened here. Please try once more."
_DIFFERENT = "The two passwords are not the same."


async def show_form(request: web.Request) -> web.StreamResponse:
    """Show the form for a new password."""
    return await _form(request, request.query.get("token", ""))


async def use(request: web.Request) -> web.StreamResponse:
    """Set the password; whoever has it then signs in."""
    fields = await posted(request)
    token, email, password = fields.get("token", ""), fields.get("email", ""), fields.get("password", "")
    if not await first_form.is_ours(request):
        return await _form(request, token, email, _AGAIN, 403)
    if password != fields.get("again", ""):
        return await _form(request, token, email, _DIFFERENT, 422)
    access, address = services(request).access, client_address(request)
    try:
        account = await access.use_link(token, password, email, address=address, end_tokens="end_tokens" in fields)
    except (AccessRefused, KeyRuleBroken) as refused:
        return await _form(request, token, email, sentence(refused.message), 422)
    response = web.HTTPSeeOther("/sign-in?done=password-set")
    identity = identity_of(request)
    if identity is not None and identity.account.id == account.id:
        drop_cookie(request, response)
    raise response


async def _form(
    request: web.Request, token: str, email: str = "", fault: str = "", status: int = 200
) -> web.StreamResponse:
    """The form, or that the link is over: the same for one that was used, is too old, or never was one."""
    access = services(request).access
    link = await access.link(token)
    if link is None:
        text = "It has been used, is more than an hour old, or is not complete. An operator can make a new one."
        return refuse(request, 410, "This link is no longer good", text)
    account = await access.account_of_link(link)
    context = {"token": token, "email": email, "fault": fault, "account": account}
    limits = {"shortest": MIN_LENGTH, "longest": MAX_LENGTH}
    return first_form.show(request, "link.html", status=status, **context, **limits)


def routes() -> list[web.RouteDef]:
    """The page and its form."""
    return [web.get("/link", show_form), web.post("/link", use)]
