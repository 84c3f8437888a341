"""Management tokens of the caller's account: list, create, delete.

Law: translation only; the rules stand in ``management/tokens.py``. The secret goes from there into one answer.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from keystile.management.api.answers import Answer, respond
from keystile.management.api.credentials import NewToken, RepeatedToken, Token, token_members
from keystile.management.api.operation import Call, Operation, Success
from keystile.management.api.paging import next_link, page
from keystile.management.api.problems import Problem
from keystile.management.api.query import PAGING
from keystile.management.api.replay import Made, once
from keystile.management.api.shapes import CreateToken
from keystile.management.entry import AccessRefused


class TokenList(Answer):
    """One page of management tokens, by name."""

    items: list[Token]
    next: str | None


async def list_tokens(call: Call[None]) -> web.Response:
    """Answer with one page of tokens."""
    found = await call.parts.access.tokens(call.identity.account)
    # Names need not be unique; with the id behind it every place is.
    in_order = sorted(found, key=lambda token: f"{token.name}\0{token.id}")
    shown, cursor = page(
        in_order, lambda token: f"{token.name}\0{token.id}", call.query["limit"], call.query["cursor"]
    )
    items = [Token.of(token, call.now) for token in shown]
    return respond(TokenList(items=items, next=cursor), headers=next_link(call.request, cursor))


async def create_token(call: Call[CreateToken]) -> web.Response:
    """Make a token and show its secret, once."""

    async def make() -> Made:
        made, secret = await call.parts.access.create_token(
            call.identity, call.body.name, call.body.expires, **call.by
        )
        shown = NewToken.model_validate({**token_members(made, call.now), "token": secret})
        return Made(respond(shown, 201), made.id)

    return await once(call, make, lambda token_id: _again(call, token_id))


async def delete_token(call: Call[None]) -> web.Response:
    """End a token, at once."""
    await call.parts.access.delete_token(call.identity, call.id, **call.by)
    return web.Response(status=204)


async def _again(call: Call[CreateToken], token_id: str) -> web.Response:
    for token in await call.parts.access.tokens(call.identity.account):
        if token.id == token_id:
            return respond(RepeatedToken.model_validate(token_members(token, call.now)))
    raise AccessRefused("no_such_token", "there is no such token")


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/tokens",
        "listTokens",
        "Management tokens of the caller's account, by name",
        list_tokens,
        {200: Success(TokenList, "One page of tokens.", ("Link",))},
        query=PAGING,
    ),
    Operation(
        "POST",
        "/api/tokens",
        "createToken",
        "Create a management token; only with a session",
        create_token,
        {
            201: Success(NewToken, "The token, shown once."),
            200: Success(RepeatedToken, "A repetition: the token without its secret."),
        },
        body=CreateToken,
        idempotent=True,
        problems=frozenset({Problem.LIMIT_REACHED, Problem.SESSION_NEEDED}),
    ),
    Operation(
        "DELETE",
        "/api/tokens/{id}",
        "deleteToken",
        "Delete a management token, at once; with a token only that itself",
        delete_token,
        {204: Success(None, "It is deleted.")},
        problems=frozenset({Problem.SESSION_NEEDED}),
    ),
)
"""The rows of this file."""
