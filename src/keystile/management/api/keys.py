"""API keys: list, create, import, get, edit, change, delete.

Law: translation only; every rule stands in ``keys/service.py``. The secret goes from the domain into one answer.
"""

from __future__ import annotations

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from keystile.keys.answers import UNCHANGED, Created, Kept
from keystile.keys.key import ApiKey
from keystile.management.api.answers import Answer, respond
from keystile.management.api.body import MERGE_PATCH
from keystile.management.api.credentials import KeptKey, Key, NewKey, RepeatedKey, key_members
from keystile.management.api.operation import Call, Operation, Success, must_end_in_time
from keystile.management.api.paging import next_link, page
from keystile.management.api.problems import Problem
from keystile.management.api.query import ACCOUNT, PAGING
from keystile.management.api.replay import Made, once
from keystile.management.api.shapes import ChangeKey, CreateKey, EditKey, ImportKey
from keystile.management.api.versions import etag, seen_version

_CREATES = frozenset({Problem.LIMIT_REACHED, Problem.NAME_TAKEN, Problem.BEYOND_AUTHORITY})
_REPEATED = Success(RepeatedKey, "A repetition: the key as it is now, without its secret.", ("ETag",))


class KeyList(Answer):
    """One page of API keys, by name."""

    items: list[Key]
    next: Annotated[str | None, Field(description="The cursor of the next page; null on the last one.")]


async def list_keys(call: Call[None]) -> web.Response:
    """Answer with one page of keys."""
    keys = await call.parts.keys.list(call.account)
    shown, cursor = page(keys, lambda key: key.name, call.query["limit"], call.query["cursor"])
    items = [Key.of(key, call.now) for key in shown]
    return respond(KeyList(items=items, next=cursor), headers=next_link(call.request, cursor))


async def create_key(call: Call[CreateKey]) -> web.Response:
    """Make a key and show its secret, once."""
    body = call.body

    async def make() -> Made:
        must_end_in_time(call, body.expires)
        created = await call.parts.keys.create(
            call.account, body.name, body.scopes, body.allowed_networks, body.expires, **call.by
        )
        return Made(_new(call, created, 201), created.key.id)

    return await once(call, make, lambda key_id: _again(call, key_id))


async def import_key(call: Call[ImportKey]) -> web.Response:
    """Take over a key that was issued elsewhere; there is no secret to show."""
    body = call.body

    async def make() -> Made:
        must_end_in_time(call, body.expires)
        kept = await call.parts.keys.import_key(
            call.account,
            body.name,
            body.digest,
            body.hint,
            body.scopes,
            body.allowed_networks,
            body.expires,
            **call.by,
        )
        headers = {"Location": f"/api/keys/{kept.key.id}", **etag(kept.key.version)}
        return Made(respond(_kept(call, kept), 201, headers), kept.key.id)

    return await once(call, make, lambda key_id: _again(call, key_id))


async def get_key(call: Call[None]) -> web.Response:
    """Answer with a key."""
    key = await call.parts.keys.find(call.account, call.id)
    return respond(Key.of(key, call.now), headers=etag(key.version))


async def edit_key(call: Call[EditKey]) -> web.Response:
    """Replace what the patch gives of a key."""
    keys, body = call.parts.keys, call.body
    before = await keys.find(call.account, call.id)
    version = _seen(call, before)
    expires = body.expires if "expires" in body.model_fields_set else UNCHANGED
    must_end_in_time(call, before.expires if expires is UNCHANGED else expires)
    given = body.given("scopes", "allowed_networks", "name")
    kept = await keys.edit(
        call.account,
        key_id=before.id,
        new_name=given.get("name"),
        scopes=given.get("scopes"),
        networks=given.get("allowed_networks"),
        expires=expires,
        version=version,
        **call.by,
    )
    return respond(_kept(call, kept), headers=etag(kept.key.version))


async def change_key(call: Call[ChangeKey]) -> web.Response:
    """Give a key a new secret and show it, once."""

    async def make() -> Made:
        before = await call.parts.keys.find(call.account, call.id)
        version = _seen(call, before)
        must_end_in_time(call, before.expires)
        changed = await call.parts.keys.change(
            call.account, overlap=call.body.overlap, key_id=before.id, version=version, **call.by
        )
        return Made(_new(call, changed, 200), changed.key.id)

    return await once(call, make, lambda key_id: _again(call, key_id))


async def delete_key(call: Call[None]) -> web.Response:
    """Delete a key: when this is answered no relay admits it."""
    found = await call.parts.keys.find(call.account, call.id)
    version = seen_version(call.request, found.version, needed=False)
    await call.parts.keys.delete(call.account, key_id=found.id, version=version, **call.by)
    return web.Response(status=204)


def _seen(call: Call[EditKey] | Call[ChangeKey], key: ApiKey) -> int | None:
    """The version that the change is for; never just any for a token that ends, whose bounds were compared with it."""
    version = seen_version(call.request, key.version)
    return version if call.identity.expires is None else key.version


def _kept(call: Call[EditKey] | Call[ImportKey], kept: Kept) -> KeptKey:
    members = key_members(kept.key, call.now)
    return KeptKey.model_validate({**members, "warnings": list(kept.warnings)})


def _new(call: Call[CreateKey] | Call[ChangeKey], created: Created, status: int) -> web.Response:
    members = key_members(created.key, call.now)
    shown = NewKey.model_validate({**members, "warnings": list(created.warnings), "key": created.secret})
    headers = etag(created.key.version)
    if status == 201:
        headers["Location"] = f"/api/keys/{created.key.id}"
    return respond(shown, status, headers)


async def _again(call: Call[CreateKey] | Call[ImportKey] | Call[ChangeKey], key_id: str) -> web.Response:
    key = await call.parts.keys.find(call.account, key_id)
    repeated = RepeatedKey.model_validate(key_members(key, call.now))
    return respond(repeated, headers=etag(key.version))


_OWNER: Final = (ACCOUNT,)
OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/keys",
        "listKeys",
        "API keys of the account, by name",
        list_keys,
        {200: Success(KeyList, "One page of keys.", ("Link",))},
        query=(*PAGING, *_OWNER),
    ),
    Operation(
        "POST",
        "/api/keys",
        "createKey",
        "Create an API key",
        create_key,
        {201: Success(NewKey, "The key, shown once.", ("Location", "ETag")), 200: _REPEATED},
        body=CreateKey,
        query=_OWNER,
        idempotent=True,
        problems=_CREATES,
    ),
    Operation(
        "POST",
        "/api/keys/import",
        "importKey",
        "Take over an API key that was issued elsewhere, by the digest of its secret",
        import_key,
        {201: Success(KeptKey, "The key.", ("Location", "ETag")), 200: _REPEATED},
        body=ImportKey,
        query=_OWNER,
        idempotent=True,
        problems=_CREATES | {Problem.CONFLICT},
    ),
    Operation(
        "GET",
        "/api/keys/{id}",
        "getKey",
        "One API key",
        get_key,
        {200: Success(Key, "The key.", ("ETag",))},
        query=_OWNER,
    ),
    Operation(
        "PATCH",
        "/api/keys/{id}",
        "editKey",
        "Edit an API key",
        edit_key,
        {200: Success(KeptKey, "The key as it is now.", ("ETag",))},
        body=EditKey,
        body_types=MERGE_PATCH,
        query=_OWNER,
        if_match=True,
        problems=frozenset({Problem.NAME_TAKEN, Problem.BEYOND_AUTHORITY}),
    ),
    Operation(
        "POST",
        "/api/keys/{id}/change",
        "changeKey",
        "Give an API key a new secret",
        change_key,
        {200: Success((NewKey, RepeatedKey), "With its new secret, shown once.", ("ETag",))},
        description="In a repetition (Idempotency-Key) `key` is null and `note` says why.",
        body=ChangeKey,
        body_needed=False,
        query=_OWNER,
        if_match=True,
        idempotent=True,
        problems=frozenset({Problem.BEYOND_AUTHORITY}),
    ),
    Operation(
        "DELETE",
        "/api/keys/{id}",
        "deleteKey",
        "Delete an API key, at once",
        delete_key,
        {204: Success(None, "It is deleted: the next request with it is refused.")},
        query=_OWNER,
        if_match=False,
    ),
)
"""The rows of this file."""
