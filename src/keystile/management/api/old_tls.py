"""Who still calls with a TLS version that ends.

Law: translation only; an operator sees all of it, and what is shown comes from the store.
"""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from keystile.keys.store import OldTlsUse
from keystile.management.api.answers import Answer, Moment, respond
from keystile.management.api.moments import written, written_or_null
from keystile.management.api.operation import Call, Caller, Operation, Success
from keystile.management.pages.old_tls import SINCE, next_end

MOST: Final = 5_000
"""Callers in one answer."""


class OldTlsCaller(Answer):
    """Requests with one API key over one old version from one address."""

    account: str
    key_id: str
    key_name: str
    key_hint: str
    version: Annotated[str, Field(description="Such as `1.0`.")]
    address: str
    first_seen: Moment
    last_seen: Moment
    requests: int

    @classmethod
    def of(cls, use: OldTlsUse) -> OldTlsCaller:
        """The answer for this one."""
        return cls(
            account=use.account_email,
            key_id=use.key_id,
            key_name=use.key_name,
            key_hint=use.hint,
            version=use.version,
            address=use.address,
            first_seen=written(use.first_at),
            last_seen=written(use.last_at),
            requests=use.requests,
        )


class OldTlsCallers(Answer):
    """The latest first."""

    since: Moment
    ends: Annotated[Moment | None, Field(description="The first day to come on which older versions are refused.")]
    items: list[OldTlsCaller]
    more: Annotated[bool, Field(description=f"Whether there are more than the {MOST:,} that are shown.")]


async def list_old_tls(call: Call[None]) -> web.Response:
    """Answer with who has called over old versions in the last 30 days."""
    since = call.now - SINCE
    found = await call.parts.store.old_tls(since, MOST + 1)
    ends = next_end(call.parts.settings, call.now)
    items = [OldTlsCaller.of(one) for one in found[:MOST]]
    return respond(
        OldTlsCallers(since=written(since), ends=written_or_null(ends), items=items, more=len(found) > MOST)
    )


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/old-tls",
        "listOldTls",
        "Who has called over TLS versions that end, in the last 30 days",
        list_old_tls,
        {200: Success(OldTlsCallers, "By API key, version and address, the latest first.")},
        caller=Caller.OPERATOR,
    ),
)
"""The row of this file."""
