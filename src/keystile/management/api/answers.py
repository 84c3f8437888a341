"""What every answer of the API has in common.

Law: shapes and bytes. A record of the domain goes in, JSON comes out, and nobody on the way may keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, WithJsonSchema

from keystile.keys.key import Account as AnAccount
from keystile.management.api.moments import written

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
MomentOrNull = Annotated[str | None, WithJsonSchema({"type": ["string", "null"], "format": "date-time"})]


def _open_to_more(schema: dict[str, Any]) -> None:
    # We add no member that is not described; clients must not stumble over those that come with later versions.
    schema.pop("additionalProperties", None)


class Answer(BaseModel):
    """Any answer."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra=_open_to_more, json_schema_serialization_defaults_required=True
    )


def respond(answer: Answer, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer as JSON; nothing of the API may be kept by anybody on the way."""
    body = answer.model_dump_json().encode("utf-8")
    made = web.Response(status=status, body=body, content_type="application/json", headers=headers)
    made.headers["Cache-Control"] = "no-store"
    return made


class Account(Answer):
    """Somebody who owns keys."""

    id: str
    email: str
    operator: bool
    created: Moment

    @classmethod
    def of(cls, account: AnAccount) -> Account:
        """The answer for this account."""
        return cls(id=account.id, email=account.email, operator=account.operator, created=written(account.created))
