"""The OpenAPI 3.1 document of the management API, made from the rows that also make its routes.

Law: description only. Nothing is written down here that a row, a shape or the list of problems says already.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from keystile import __version__
from keystile.management.api import accounts, catalogue, events, keys, old_tls, session, smtp, status, tokens, usage
from keystile.management.api.operation import Call, Caller, Operation, Success
from keystile.management.api.problems import CONTENT_TYPE, SCHEMA, Problem
from keystile.management.api.replay import LONGEST

_REFERENCE: Final = "#/components/schemas/{model}"
_PROBLEM: Final = "Problem"
_RESOURCES: Final = (session, keys, usage, smtp, events, tokens, catalogue, accounts, status, old_tls)
_DESCRIPTION: Final = """\
Everything that the page does, for programs. Below `/api` on the management listener.

A caller signs in with a *management token* (`Authorization: Bearer kst_…`), or has a session of the page; with a
session, requests that change something also need `X-CSRF-Token` (`csrf` of `GET /api/me`).

Every error is `application/problem+json` (RFC 9457); `field` names the member, parameter or header field that is to
blame. What belongs to another account looks like what is not there. Bodies have at most 64 KiB; members and
parameters that are not documented are refused. A method that a path does not have is answered with 405.

Secrets are shown once, in the answer to the call that made them. `Idempotency-Key` on creates and changes makes a
repetition safe for 24 hours: it is answered 200 with what was made and null in place of the secret.
"""
_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ETag": {
        "description": "The version, for If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
    },
    "Link": {"description": 'The next page (`rel="next"`), if there is one.', "schema": {"type": "string"}},
    "Location": {"description": "Where it is.", "required": True, "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to sign in.", "required": True, "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag that was seen, or * for any version.",
    "schema": {"type": "string", "examples": ['"3"']},
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name of the caller's choosing for this request, the same in every repetition of it.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"},
}


async def get_document(_: Call[None]) -> web.Response:
    """Answer with this API's document."""
    return web.Response(body=_document_bytes(), content_type="application/json", headers={"Cache-Control": "no-store"})


def operations() -> list[Operation]:
    """All rows of the API."""
    itself = Operation(
        "GET",
        "/api/openapi.json",
        "getDocument",
        "This document",
        get_document,
        {200: Success(None, "OpenAPI 3.1.")},
        caller=Caller.ANYBODY,
    )
    return [itself, *(row for resource in _RESOURCES for row in resource.OPERATIONS)]


@cache
def _document_bytes() -> bytes:
    return json.dumps(document(operations()), ensure_ascii=False).encode("utf-8")


def document(rows: Sequence[Operation]) -> dict[str, Any]:
    """The document of these rows."""
    schemas = _schemas(rows)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row) | {"responses": _responses(row, rows)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Keystile management API", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": _all_refusals(rows),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A management token."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "keystile",
                    "description": "Of the page; on TLS its name is `__Host-keystile`.",
                },
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "With a session."},
            },
        },
    }


def _schemas(rows: Iterable[Operation]) -> dict[str, Any]:
    """The schemas of all shapes, by name."""
    wanted: dict[tuple[type[BaseModel], Literal["validation", "serialization"]], None] = {}
    for row in rows:
        if row.body is not None:
            wanted[row.body, "validation"] = None
        for success in row.answers.values():
            wanted.update(dict.fromkeys((shape, "serialization") for shape in success.shapes))
    _, definitions = models_json_schema(list(wanted), ref_template=_REFERENCE)
    return dict(sorted({**definitions["$defs"], _PROBLEM: dict(SCHEMA)}.items()))


def _operation(row: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": row.name, "summary": row.summary, "tags": [row.path.split("/")[2]]}
    if row.description:
        made["description"] = row.description
    made["parameters"] = _parameters(row)
    if row.body is not None:
        schema = {"$ref": _REFERENCE.format(model=row.body.__name__)}
        content = {kind: {"schema": schema} for kind in row.body_types}
        made["requestBody"] = {"required": row.body_needed, "content": content}
    made["security"] = _security(row)
    return made


def _security(row: Operation) -> list[dict[str, list[str]]]:
    if row.caller is Caller.ANYBODY:
        return []
    session: dict[str, list[str]] = {"session": []} if row.is_safe else {"session": [], "csrf": []}
    return [{"token": []}] if row.caller is Caller.OPERATOR_TOKEN else [{"token": []}, session]


def _parameters(row: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{id}" in row.path:
        schema = {"type": "string", "pattern": "^[0-9a-f]{8,64}$"}
        found.append({"name": "id", "in": "path", "required": True, "schema": schema})
    found += [
        {"name": each.name, "in": "query", "description": each.description, "schema": dict(each.schema)}
        for each in row.query
    ]
    if row.if_match is not None:
        found.append({**_IF_MATCH, "required": row.if_match})
    if row.idempotent:
        found.append(dict(_IDEMPOTENCY_KEY))
    return found


def _responses(row: Operation, rows: Sequence[Operation]) -> dict[str, Any]:
    made: dict[str, Any] = {str(code): _success(row, success) for code, success in sorted(row.answers.items())}
    if 201 in row.answers and "Location" in row.answers[201].headers:
        made["201"]["links"] = _links("/".join(row.path.split("/")[:3]) + "/{id}", rows)
    for code, found in _refusals(row).items():
        made[str(code)] = {"$ref": f"#/components/responses/{_refusal_name(found)}"}
    return made


def _links(path: str, rows: Sequence[Operation]) -> dict[str, Any]:
    """What can be done with something that has just been made: every call on its path or below."""
    below = [row for row in rows if row.path == path or row.path.startswith(f"{path}/")]
    return {row.name: {"operationId": row.name, "parameters": {"id": "$response.body#/id"}} for row in below}


def _refusals(row: Operation) -> dict[int, list[Problem]]:
    by_status: dict[int, list[Problem]] = {}
    for problem in sorted(row.all_problems(), key=lambda each: (each.status, each.slug)):
        by_status.setdefault(problem.status, []).append(problem)
    return by_status


def _refusal_name(found: Sequence[Problem]) -> str:
    return ".".join([str(found[0].status), *(problem.slug for problem in found)])


def _all_refusals(rows: Iterable[Operation]) -> dict[str, Any]:
    """Every combination of problems that some status of some row may mean, described once."""
    combinations = {_refusal_name(found): found for row in rows for found in _refusals(row).values()}
    return {name: _refusal(found) for name, found in sorted(combinations.items())}


def _success(row: Operation, success: Success) -> dict[str, Any]:
    made: dict[str, Any] = {"description": success.description}
    if success.headers:
        made["headers"] = {name: dict(_HEADERS[name]) for name in success.headers}
    references = [{"$ref": _REFERENCE.format(model=shape.__name__)} for shape in success.shapes]
    if row.caller is Caller.ANYBODY:
        made["content"] = {"application/json": {"schema": {"type": "object"}}}
    elif references:
        schema = references[0] if len(references) == 1 else {"anyOf": references}
        made["content"] = {"application/json": {"schema": schema}}
    return made


def _refusal(found: Sequence[Problem]) -> dict[str, Any]:
    """What a status means: every problem that it may stand for."""
    code = found[0].status
    types = [problem.type for problem in found]
    schema = {
        "allOf": [
            {"$ref": _REFERENCE.format(model=_PROBLEM)},
            {"properties": {"type": {"enum": types}, "status": {"const": code}}},
        ]
    }
    said = "\n".join(f"* `{problem.slug}`: {problem.detail}" for problem in found)
    made: dict[str, Any] = {"description": said, "content": {CONTENT_TYPE: {"schema": schema}}}
    headers = {401: "WWW-Authenticate", 503: "Retry-After"}
    if code in headers:
        made["headers"] = {headers[code]: dict(_HEADERS[headers[code]])}
    return made
