"""SMTP credentials: the same calls as for API keys; and the mail relay's question whether one is good.

Law: translation only; every rule stands in ``keys/smtp.py``. An SMTP credential is never a key, nor a key one.
"""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from keystile.keys.answers import UNCHANGED
from keystile.keys.key import SmtpCredential
from keystile.keys.networks import Address
from keystile.keys.smtp import SmtpCreated
from keystile.management.api.answers import Answer, respond
from keystile.management.api.body import MERGE_PATCH
from keystile.management.api.credentials import NewSmtp, RepeatedSmtp, Smtp, smtp_members
from keystile.management.api.operation import Call, Caller, Operation, Success, must_end_in_time
from keystile.management.api.paging import next_link, page
from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.api.query import ACCOUNT, PAGING
from keystile.management.api.replay import Made, once
from keystile.management.api.shapes import ChangeSmtp, CreateSmtp, EditSmtp, VerifySmtp
from keystile.management.api.versions import etag, seen_version
from keystile.wire.peer import parse_address


class SmtpList(Answer):
    """One page of SMTP credentials, by name."""

    items: list[Smtp]
    next: str | None


class SmtpVerified(Answer):
    """Whether the mail relay may take mail from who presented this."""

    valid: bool
    account: Annotated[str | None, Field(description="Whose it is; null when it is not valid.")]
    id: str | None


async def list_smtp(call: Call[None]) -> web.Response:
    """Answer with one page of SMTP credentials."""
    found = await call.parts.smtp.list(call.account)
    shown, cursor = page(found, lambda each: each.name, call.query["limit"], call.query["cursor"])
    items = [Smtp.of(each, call.now) for each in shown]
    return respond(SmtpList(items=items, next=cursor), headers=next_link(call.request, cursor))


async def create_smtp(call: Call[CreateSmtp]) -> web.Response:
    """Make an SMTP credential and show its secret, once."""
    body = call.body

    async def make() -> Made:
        must_end_in_time(call, body.expires)
        made = await call.parts.smtp.create(call.account, body.name, body.allowed_networks, body.expires, **call.by)
        return Made(_new(call, made, 201), made.credential.id)

    return await once(call, make, lambda found: _again(call, found))


async def get_smtp(call: Call[None]) -> web.Response:
    """Answer with an SMTP credential."""
    found = await call.parts.smtp.find(call.account, call.id)
    return respond(Smtp.of(found, call.now), headers=etag(found.version))


async def edit_smtp(call: Call[EditSmtp]) -> web.Response:
    """Replace what the patch gives of an SMTP credential."""
    smtp, body = call.parts.smtp, call.body
    before = await smtp.find(call.account, call.id)
    version = _seen(call, before)
    expires = body.expires if "expires" in body.model_fields_set else UNCHANGED
    must_end_in_time(call, before.expires if expires is UNCHANGED else expires)
    given = body.given("name", "allowed_networks")
    edited = await smtp.edit(
        call.account,
        credential_id=before.id,
        new_name=given.get("name"),
        networks=given.get("allowed_networks"),
        expires=expires,
        version=version,
        **call.by,
    )
    return respond(Smtp.of(edited, call.now), headers=etag(edited.version))


async def change_smtp(call: Call[ChangeSmtp]) -> web.Response:
    """Give an SMTP credential a new secret and show it, once."""

    async def make() -> Made:
        before = await call.parts.smtp.find(call.account, call.id)
        version = _seen(call, before)
        must_end_in_time(call, before.expires)
        changed = await call.parts.smtp.change(call.account, credential_id=before.id, version=version, **call.by)
        return Made(_new(call, changed, 200), changed.credential.id)

    return await once(call, make, lambda found: _again(call, found))


async def delete_smtp(call: Call[None]) -> web.Response:
    """Delete an SMTP credential, at once."""
    found = await call.parts.smtp.find(call.account, call.id)
    version = seen_version(call.request, found.version, needed=False)
    await call.parts.smtp.delete(call.account, credential_id=found.id, version=version, **call.by)
    return web.Response(status=204)


async def verify_smtp(call: Call[VerifySmtp]) -> web.Response:
    """Tell the mail relay whether what a mail client presented is good. No answer says what is wrong."""
    body = call.body
    found = await call.parts.smtp.verify(body.name, body.secret, _address(body.address))
    said = SmtpVerified(
        valid=found is not None,
        account=None if found is None else found.account_email,
        id=None if found is None else found.id,
    )
    return respond(said)


def _address(text: str | None) -> Address | None:
    try:
        return None if text is None else parse_address(text)
    except ValueError:
        raise ApiProblem(Problem.INVALID, "An IP address, or null.", field="address") from None


def _seen(call: Call[EditSmtp] | Call[ChangeSmtp], found: SmtpCredential) -> int | None:
    """As for keys: never just any version for a token that ends."""
    version = seen_version(call.request, found.version)
    return version if call.identity.expires is None else found.version


def _new(call: Call[CreateSmtp] | Call[ChangeSmtp], made: SmtpCreated, status: int) -> web.Response:
    members = smtp_members(made.credential, call.now)
    headers = etag(made.credential.version)
    if status == 201:
        headers["Location"] = f"/api/smtp/{made.credential.id}"
    return respond(NewSmtp.model_validate({**members, "secret": made.secret}), status, headers)


async def _again(call: Call[CreateSmtp] | Call[ChangeSmtp], credential_id: str) -> web.Response:
    found = await call.parts.smtp.find(call.account, credential_id)
    repeated = RepeatedSmtp.model_validate(smtp_members(found, call.now))
    return respond(repeated, headers=etag(found.version))


_OWNER: Final = (ACCOUNT,)
OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/smtp",
        "listSmtpCredentials",
        "SMTP credentials of the account, by name",
        list_smtp,
        {200: Success(SmtpList, "One page of SMTP credentials.", ("Link",))},
        query=(*PAGING, *_OWNER),
    ),
    Operation(
        "POST",
        "/api/smtp",
        "createSmtpCredential",
        "Create an SMTP credential",
        create_smtp,
        {
            201: Success(NewSmtp, "The SMTP credential, its secret shown once.", ("Location", "ETag")),
            200: Success(RepeatedSmtp, "A repetition: as it is now, without its secret.", ("ETag",)),
        },
        body=CreateSmtp,
        query=_OWNER,
        idempotent=True,
        problems=frozenset({Problem.LIMIT_REACHED, Problem.NAME_TAKEN, Problem.BEYOND_AUTHORITY}),
    ),
    Operation(
        "POST",
        "/api/smtp/verify",
        "verifySmtpCredential",
        "Whether an SMTP credential is good, for a mail relay",
        verify_smtp,
        {200: Success(SmtpVerified, "Whether it is good; not why not.")},
        caller=Caller.OPERATOR_TOKEN,
        body=VerifySmtp,
    ),
    Operation(
        "GET",
        "/api/smtp/{id}",
        "getSmtpCredential",
        "One SMTP credential",
        get_smtp,
        {200: Success(Smtp, "The SMTP credential.", ("ETag",))},
        query=_OWNER,
    ),
    Operation(
        "PATCH",
        "/api/smtp/{id}",
        "editSmtpCredential",
        "Edit an SMTP credential",
        edit_smtp,
        {200: Success(Smtp, "The SMTP credential as it is now.", ("ETag",))},
        body=EditSmtp,
        body_types=MERGE_PATCH,
        query=_OWNER,
        if_match=True,
        problems=frozenset({Problem.NAME_TAKEN, Problem.BEYOND_AUTHORITY}),
    ),
    Operation(
        "POST",
        "/api/smtp/{id}/change",
        "changeSmtpCredential",
        "Give an SMTP credential a new secret; the old one ends at once",
        change_smtp,
        {200: Success((NewSmtp, RepeatedSmtp), "With its new secret, shown once.", ("ETag",))},
        description="In a repetition (Idempotency-Key) `secret` is null and `note` says why.",
        body=ChangeSmtp,
        body_needed=False,
        query=_OWNER,
        if_match=True,
        idempotent=True,
        problems=frozenset({Problem.BEYOND_AUTHORITY}),
    ),
    Operation(
        "DELETE",
        "/api/smtp/{id}",
        "deleteSmtpCredential",
        "Delete an SMTP credential, at once",
        delete_smtp,
        {204: Success(None, "It is deleted.")},
        query=_OWNER,
        if_match=False,
    ),
)
"""The rows of this file."""
