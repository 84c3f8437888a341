"""Who asks, and signing out.

Law: translation only. Signing in is for people, on the page; programs have management tokens.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from keystile.management.api.answers import Account, Answer, respond
from keystile.management.api.operation import Call, Operation, Success
from keystile.management.api.problems import Problem
from keystile.management.identity import client_address, drop_cookie
from keystile.management.tokens import must_be_session


class Me(Answer):
    """Who asks."""

    account: Account
    signed_in_by: Literal["session", "token"]
    csrf: Annotated[str | None, Field(repr=False, description="For X-CSRF-Token, where the caller has a session.")]
    address: Annotated[str, Field(description="Where this call came from.")]
    keys: int
    keys_allowed: int
    smtp_credentials: int


async def get_me(call: Call[None]) -> web.Response:
    """Answer with who asks."""
    parts, identity = call.parts, call.identity
    said = Me(
        account=Account.of(identity.account),
        signed_in_by=identity.kind,
        csrf=identity.csrf or None,
        address=client_address(call.request),
        keys=await parts.store.count_keys(identity.account.id),
        keys_allowed=parts.settings.keys.per_account,
        smtp_credentials=await parts.store.count_smtp_credentials(identity.account.id),
    )
    return respond(said)


async def sign_out(call: Call[None]) -> web.Response:
    """End the session that asks."""
    must_be_session(call.identity)
    await call.parts.access.sign_out(call.identity, origin=call.by["origin"])
    answer = web.Response(status=204)
    drop_cookie(call.request, answer)
    return answer


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/me",
        "getMe",
        "Who asks: the account, and by what it came in",
        get_me,
        {200: Success(Me, "The account.")},
    ),
    Operation(
        "DELETE",
        "/api/session",
        "signOut",
        "Sign out: end this session",
        sign_out,
        {204: Success(None, "The session has ended.")},
        problems=frozenset({Problem.SESSION_NEEDED}),
    ),
)
"""The rows of this file."""
