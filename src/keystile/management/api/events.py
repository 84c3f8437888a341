"""Events: what has happened to an account and to what it owns.

Law: translation only. An event holds no secret; whose events one may see is decided by ``Call.account``.
"""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from keystile.keys.audit import AuditEvent
from keystile.management.api.answers import Answer, Moment, respond
from keystile.management.api.moments import written
from keystile.management.api.operation import Call, Operation, Success
from keystile.management.api.paging import cursor_of, next_link, place_of
from keystile.management.api.query import ACCOUNT, PAGING


class Event(Answer):
    """Something that happened to an account or to what it owns."""

    id: int
    at: Moment
    what: str
    actor: Annotated[str, Field(description="Who did it.")]
    origin: Annotated[str, Field(description="From where.")]
    account: str
    key_id: Annotated[str | None, Field(description="Of the API key or SMTP credential that it is about.")]
    key_name: str | None
    key_hint: str | None
    details: str

    @classmethod
    def of(cls, event: AuditEvent) -> Event:
        """The answer for this event."""
        return cls(
            id=event.seq,
            at=written(event.at),
            what=event.what.value,
            actor=event.actor,
            origin=event.origin,
            account=event.account,
            key_id=event.key_id,
            key_name=event.key_name,
            key_hint=event.key_hint,
            details=event.details,
        )


class EventList(Answer):
    """One page of events, newest first."""

    items: list[Event]
    next: str | None


async def list_events(call: Call[None]) -> web.Response:
    """Answer with one page of events."""
    limit, before = call.query["limit"], place_of(call.query["cursor"], int)
    account = await call.parts.keys.find_account(call.account)
    # One more than is shown says whether there is another page.
    found = await call.parts.keys.events(limit + 1, before, account.email)
    cursor = cursor_of(found[limit - 1].seq) if len(found) > limit else None
    items = [Event.of(event) for event in found[:limit]]
    return respond(EventList(items=items, next=cursor), headers=next_link(call.request, cursor))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/events",
        "listEvents",
        "What has happened to the account, newest first",
        list_events,
        {200: Success(EventList, "One page of events.", ("Link",))},
        query=(*PAGING, ACCOUNT),
    ),
)
"""The row of this file."""
