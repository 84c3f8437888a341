"""Usage: what was asked with an API key, by hour.

Law: translation only; sums come from the store by way of ``keys/service.py``.
"""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from keystile.management.api.answers import Answer, Moment, respond
from keystile.management.api.moments import written
from keystile.management.api.operation import Call, Operation, Success
from keystile.management.api.query import ACCOUNT, HOURS

_HOUR: Final = 3600


class Hour(Answer):
    """What was asked with a key within one hour."""

    hour: Annotated[Moment, Field(description="Its beginning.")]
    answered: Annotated[int, Field(description="Requests that went to the API.")]
    refused: Annotated[dict[str, int], Field(description="Requests that the gateway refused, by problem type.")]


class Usage(Answer):
    """What was asked with a key; hours without any requests are left out."""

    since: Moment
    hours: list[Hour]


async def key_usage(call: Call[None]) -> web.Response:
    """Answer with what was asked with a key, by hour."""
    key = await call.parts.keys.find(call.account, call.id)
    since = int(call.now // _HOUR) - call.query["hours"] + 1
    hours: dict[int, tuple[int, dict[str, int]]] = {}
    for key_id, hour, refusal, requests in await call.parts.keys.usage(call.account, since):
        if key_id == key.id:
            answered, refused = hours.setdefault(hour, (0, {}))
            if refusal:
                refused[refusal] = requests
            else:
                hours[hour] = (answered + requests, refused)
    items = [
        Hour(hour=written(hour * _HOUR), answered=answered, refused=refused)
        for hour, (answered, refused) in sorted(hours.items())
    ]
    return respond(Usage(since=written(since * _HOUR), hours=items))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/keys/{id}/usage",
        "getKeyUsage",
        "What was asked with an API key, by hour",
        key_usage,
        {200: Success(Usage, "Hours with requests, oldest first.")},
        query=(ACCOUNT, HOURS),
    ),
)
"""The row of this file."""
