"""Accounts, for operators: list, create, get, delete, and one-time links that set a password.

Law: translation only; the rules stand in ``keys/accounts.py`` and ``management/access.py``. What lets somebody sign
in is made by somebody who has signed in: no management token makes an account or a link.
"""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account as AnAccount
from keystile.management.access import LINK_LIFE
from keystile.management.api.answers import Account, Answer, Moment, respond
from keystile.management.api.moments import written
from keystile.management.api.operation import Call, Caller, Operation, Success
from keystile.management.api.paging import next_link, page
from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.api.query import PAGING
from keystile.management.api.replay import Made, once
from keystile.management.api.shapes import CreateAccount, CreateLink
from keystile.management.identity import link_address
from keystile.management.tokens import must_be_session

LINK_REPLAYED: Final = (
    "This repeats a request that has been answered, and links are shown once. "
    "If that answer was lost, make a new link."
)


class PasswordLink(Answer):
    """A link with which one password can be set, once."""

    link: Annotated[
        str,
        Field(repr=False, description="Where a password can be set, once."),
    ]
    valid_until: Moment


class NewAccount(Account, PasswordLink):
    """An account that has been made, and the link for its first password."""


class RepeatedAccount(Account):
    """The answer to a repetition: the account without its link."""

    link: None = None
    valid_until: None = None
    note: str = LINK_REPLAYED


class AccountList(Answer):
    """One page of accounts, by e-mail address."""

    items: list[Account]
    next: str | None


async def list_accounts(call: Call[None]) -> web.Response:
    """Answer with one page of accounts."""
    found = await call.parts.keys.list_accounts()
    shown, cursor = page(found, lambda account: account.email, call.query["limit"], call.query["cursor"])
    items = [Account.of(account) for account in shown]
    return respond(AccountList(items=items, next=cursor), headers=next_link(call.request, cursor))


async def create_account(call: Call[CreateAccount]) -> web.Response:
    """Make an account and show the link that sets its first password, once."""
    must_be_session(call.identity)

    async def make() -> Made:
        account = await call.parts.keys.create_account(call.body.email, call.body.operator, **call.by)
        shown = {**dict(Account.of(account)), **await _link(call, account)}
        headers = {"Location": f"/api/accounts/{account.id}"}
        return Made(respond(NewAccount.model_validate(shown), 201, headers), account.id)

    async def again(account_id: str) -> web.Response:
        return respond(RepeatedAccount(**dict(Account.of(await _account(call, account_id)))))

    return await once(call, make, again)


async def get_account(call: Call[None]) -> web.Response:
    """Answer with an account."""
    return respond(Account.of(await _account(call, call.id)))


async def delete_account(call: Call[None]) -> web.Response:
    """Delete an account and all it owns, at once; not one's own."""
    account = await _account(call, call.id)
    if account.id == call.identity.account.id:
        raise ApiProblem(Problem.CONFLICT, "Somebody else has to delete your account.")
    await call.parts.keys.delete_account(account.email, **call.by)
    await call.parts.access.forget_account(account)
    return web.Response(status=204)


async def create_link(call: Call[CreateLink]) -> web.Response:
    """Make a link that sets the account's password once; an earlier one ends."""
    must_be_session(call.identity)
    account = await _account(call, call.id)
    return respond(PasswordLink(**await _link(call, account)), 201)


async def _link(call: Call[CreateAccount] | Call[CreateLink], account: AnAccount) -> dict[str, str]:
    token = await call.parts.access.make_link(account.email, **call.by)
    return {"link": link_address(call.request, token), "valid_until": written(call.now + LINK_LIFE)}


async def _account(call: Call[None] | Call[CreateAccount] | Call[CreateLink], account_id: str) -> AnAccount:
    account = await call.parts.store.account_by_id(account_id)
    if account is None:
        raise KeyRuleBroken("no_such_account", "there is no such account")
    return account


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/accounts",
        "listAccounts",
        "All accounts, by e-mail address",
        list_accounts,
        {200: Success(AccountList, "One page of accounts.", ("Link",))},
        caller=Caller.OPERATOR,
        query=PAGING,
    ),
    Operation(
        "POST",
        "/api/accounts",
        "createAccount",
        "Create an account, with a one-time link for its password",
        create_account,
        {
            201: Success(NewAccount, "The account, its link shown once.", ("Location",)),
            200: Success(RepeatedAccount, "A repetition: the account without its link."),
        },
        caller=Caller.OPERATOR,
        body=CreateAccount,
        idempotent=True,
        problems=frozenset({Problem.CONFLICT, Problem.SESSION_NEEDED}),
    ),
    Operation(
        "GET",
        "/api/accounts/{id}",
        "getAccount",
        "One account",
        get_account,
        {200: Success(Account, "The account.")},
        caller=Caller.OPERATOR,
    ),
    Operation(
        "DELETE",
        "/api/accounts/{id}",
        "deleteAccount",
        "Delete an account with its keys, SMTP credentials, tokens and sessions, at once",
        delete_account,
        {204: Success(None, "It is deleted.")},
        caller=Caller.OPERATOR,
        problems=frozenset({Problem.CONFLICT}),
    ),
    Operation(
        "POST",
        "/api/accounts/{id}/password-link",
        "createPasswordLink",
        "Make a one-time link that sets the account's password",
        create_link,
        {201: Success(PasswordLink, "The link, shown once.")},
        caller=Caller.OPERATOR,
        body=CreateLink,
        body_needed=False,
        problems=frozenset({Problem.SESSION_NEEDED}),
    ),
)
"""The rows of this file."""
