"""Accounts for operators: who there is, making one, a link for a new password, deleting one.

Law: rules of accounts stand in ``keys/accounts.py`` and of links in ``access.py``; this file asks them and shows. A
link is shown once, in the answer that makes it, and is nowhere else. Nobody deletes the account that they are
signed in with here, so that pages never end without somebody who can help.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account
from keystile.management.context import services
from keystile.management.identity import Identity, link_address, operator_of
from keystile.management.pages.asking import by
from keystile.management.pages.layout import missing, posted, render
from keystile.management.pages.once import Turn, new_form
from keystile.management.pages.reference import page_of

PAGE: Final = 40
"""Accounts on one page."""
_LONGEST: Final = 320


@dataclass(frozen=True, slots=True)
class Row:
    """An account, how many keys it owns, when it was last seen on these pages, and whether it is the reader's own."""

    account: Account
    keys: int
    seen: float | None
    own: bool


async def list_accounts(request: web.Request) -> web.Response:
    """Show all accounts, or those whose address holds ``q``."""
    identity, parts = operator_of(request), services(request)
    q = request.query.get("q", "").strip().lower()[:_LONGEST]
    owned = Counter(key.account_id for key in await parts.keys.list())
    every = await parts.keys.list_accounts()
    found = [account for account in every if q in account.email.lower()]
    page = page_of(request, len(found), PAGE)
    return render(
        request,
        "operator_accounts.html",
        rows=[
            Row(account, owned[account.id], await _seen(request, account), account.id == identity.account.id)
            for account in found[page * PAGE : (page + 1) * PAGE]
        ],
        q=q,
        found=len(found),
        total=len(every),
        page=page,
        more=len(found) > (page + 1) * PAGE,
    )


async def new_account(request: web.Request) -> web.Response:
    """Show the form."""
    operator_of(request)
    return _form(request)


async def create_account(request: web.Request) -> web.Response:
    """Make an account, and show the link by which its owner sets a password."""
    identity, parts = operator_of(request), services(request)
    fields = await posted(request)
    email, operator = fields.get("email", "")[:_LONGEST], fields.get("operator") == "yes"
    async with Turn(request, identity, fields.get("form", "")) as turn:
        if not turn.first:
            return _form(request, email, operator, "This form has been sent before: see the list of accounts.", 409)
        try:
            account = await parts.keys.create_account(email, operator, **by(request, identity))
        except KeyRuleBroken as broken:
            return _form(request, email, operator, _sentence(broken), 422)
        await turn.done(account.id)
        return await _link_page(request, identity, account, new=True)


async def ask_link(request: web.Request) -> web.Response:
    """Ask whether a link is to be made: it makes an earlier one worthless."""
    operator_of(request)
    account = await _named(request)
    return render(request, "operator_account_link.html", account=account, form=new_form())


async def make_link(request: web.Request) -> web.Response:
    """Make a link for a new password and show it."""
    identity = operator_of(request)
    account, fields = await _named(request), await posted(request)
    async with Turn(request, identity, fields.get("form", "")) as turn:
        if not turn.first:
            raise web.HTTPSeeOther(f"/operator/accounts/{account.id}/link")
        page = await _link_page(request, identity, account, new=False)
        await turn.done(account.id)
        return page


async def ask_delete(request: web.Request) -> web.Response:
    """Ask whether an account is to be deleted, and say what stops working."""
    identity = operator_of(request)
    return await _delete_form(request, await _named(request, but=identity))


async def delete_account(request: web.Request) -> web.Response:
    """Delete an account with all it owns, unless it owns more by now than the form said."""
    identity, parts = operator_of(request), services(request)
    account, fields = await _named(request, but=identity), await posted(request)
    keys, credentials = await _owned(request, account)
    if (fields.get("keys"), fields.get("credentials")) != (str(keys), str(credentials)):
        return await _delete_form(request, account, 409)
    try:
        await parts.keys.delete_account(account.email, **by(request, identity))
        await parts.access.forget_account(account)
    except KeyRuleBroken as broken:
        raise _gone(request) from broken
    raise web.HTTPSeeOther("/operator/accounts?done=account-deleted")


# -- parts of the above ---------------------------------------------------------------------------------------


def _form(
    request: web.Request, email: str = "", operator: bool = False, fault: str = "", status: int = 200
) -> web.Response:
    number = new_form()
    return render(
        request,
        "operator_account_new.html",
        status=status,
        email=email,
        operator=operator,
        fault=fault,
        form=number,
    )


async def _seen(request: web.Request, account: Account) -> float | None:
    """When a session of the account that still lasts was last used."""
    return max((session.seen for session in await services(request).access.sessions(account)), default=None)


async def _link_page(request: web.Request, identity: Identity, account: Account, new: bool) -> web.Response:
    try:
        token = await services(request).access.make_link(account.email, **by(request, identity))
    except KeyRuleBroken as broken:
        raise _gone(request) from broken
    address = link_address(request, token)
    return render(request, "operator_account_made.html", account=account, address=address, new=new)


async def _delete_form(request: web.Request, account: Account, status: int = 200) -> web.Response:
    keys, credentials = await _owned(request, account)
    return render(
        request,
        "operator_account_delete.html",
        status=status,
        account=account,
        keys=keys,
        credentials=credentials,
        meanwhile=status == 409,
    )


async def _owned(request: web.Request, account: Account) -> tuple[int, int]:
    """How many API keys and SMTP credentials an account owns; raises HTTPNotFound where it is gone."""
    parts = services(request)
    try:
        return len(await parts.keys.list(account.email)), len(await parts.smtp.list(account.email))
    except KeyRuleBroken as broken:
        raise _gone(request) from broken


async def _named(request: web.Request, but: Identity | None = None) -> Account:
    """The account of the path; HTTPNotFound where there is none, HTTPForbidden for ``but``'s own."""
    wanted = request.match_info["id"]
    account = next((one for one in await services(request).keys.list_accounts() if one.id == wanted), None)
    if account is None:
        raise _gone(request)
    if but is not None and account.id == but.account.id:
        raise web.HTTPForbidden(text="This is the account that you are signed in with. Another operator can delete it.")
    return account


def _gone(request: web.Request) -> web.HTTPNotFound:
    return missing(request, "There is no such account", "It may have been deleted meanwhile.")


def _sentence(broken: KeyRuleBroken) -> str:
    text = broken.message
    return text[:1].upper() + text[1:].rstrip(".") + "."


def routes() -> list[web.RouteDef]:
    """What operators do with accounts."""
    return [
        web.get("/operator/accounts", list_accounts),
        web.get("/operator/accounts/new", new_account),
        web.post("/operator/accounts/new", create_account),
        web.get("/operator/accounts/{id}/link", ask_link),
        web.post("/operator/accounts/{id}/link", make_link),
        web.get("/operator/accounts/{id}/delete", ask_delete),
        web.post("/operator/accounts/{id}/delete", delete_account),
    ]
