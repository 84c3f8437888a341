"""Reading the JSON body of a call: strictly, or a problem that says what is wrong and where.

Law: this file knows bytes, JSON (RFC 8259) and shapes. It repairs nothing: what two readers could read in two
ways (a member given twice, NaN, half characters, other encodings than UTF-8) is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web
from pydantic import ValidationError

from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.api.shapes import Shape

MAX_SIZE: Final = 64 * 1024
"""Bytes of a body. The application's ``client_max_size`` says the same for every other form of body."""
DEEPEST: Final = 32
"""Levels of objects and lists; no call needs more than two."""
JSON: Final = ("application/json",)
MERGE_PATCH: Final = ("application/merge-patch+json", "application/json")

Body = TypeVar("Body", bound=Shape)


async def read(request: web.Request, shape: type[Body], types: Sequence[str] = JSON, *, needed: bool = True) -> Body:
    """Return the body as ``shape``; with ``needed`` false, nothing at all counts as ``{}``.

    ``types``: the media types that are read (RFC 7396 has its own for patches). Raises ApiProblem: 413, 415,
    400 for what is no JSON, 422 for JSON of another shape, naming the member.
    """
    if not needed and not await _bytes(request):
        return shaped(shape, {})
    _check_type(request, types)
    return shaped(shape, parsed(await _bytes(request)))


def shaped(shape: type[Body], value: object) -> Body:
    """Return the JSON value as ``shape``; raises ApiProblem (422) that names the first member that is wrong."""
    try:
        return shape.model_validate(value)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        raise ApiProblem(Problem.INVALID, _told(first["type"], first["msg"]), field=field) from None


def parsed(body: bytes) -> object:
    """Return the JSON value that the bytes are; raises ApiProblem (400)."""
    try:
        value: object = json.loads(
            body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_not_json, parse_float=_finite
        )
        # Half of a surrogate pair is no character: no store takes it, and no two readers agree on it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ApiProblem(Problem.MALFORMED, "The body is nested too deeply.") from None
    except UnicodeError:
        raise ApiProblem(Problem.MALFORMED, "The body is not valid Unicode in UTF-8.") from None
    except ValueError:
        # Also what JSON allows and Python does not read: whole numbers of more than 4,300 digits.
        raise ApiProblem(Problem.MALFORMED, "The body is not JSON.") from None
    if _depth(value) > DEEPEST:
        raise ApiProblem(Problem.MALFORMED, "The body is nested too deeply.")
    return value


def _check_type(request: web.Request, types: Sequence[str]) -> None:
    headers = {"Accept-Patch" if request.method == "PATCH" else "Accept": ", ".join(types)}
    if request.content_type not in types or "Content-Type" not in request.headers:
        raise ApiProblem(Problem.UNSUPPORTED_TYPE, f"Send {' or '.join(types)}.", headers=headers)
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise ApiProblem(Problem.UNSUPPORTED_TYPE, "JSON is UTF-8.", headers=headers)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        # Inflating is how small requests become large ones; a body here has some hundred bytes.
        raise ApiProblem(Problem.UNSUPPORTED_TYPE, "Send the body as it is.", headers={"Accept-Encoding": "identity"})


async def _bytes(request: web.Request) -> bytes:
    if (request.content_length or 0) > MAX_SIZE:
        raise ApiProblem(Problem.TOO_LARGE)
    body = await request.read()
    if len(body) > MAX_SIZE:
        raise ApiProblem(Problem.TOO_LARGE)
    return body


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ApiProblem(Problem.MALFORMED, "A member is given twice.", field=name)
        members[name] = value
    return members


def _not_json(_: str) -> NoReturn:
    raise ValueError("NaN and infinities are not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number beyond what can be read")
    return number


def _depth(value: object) -> int:
    """Levels of ``value``, counted no further than needed; a loop, since it may be as deep as Python recurses."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        inner = [each for each in level if isinstance(each, dict | list)]
        level = [part for each in inner for part in (each.values() if isinstance(each, dict) else each)]
        depth += bool(inner)
    return depth


def _told(kind: str, message: str) -> str:
    """A sentence for people of what pydantic found."""
    match kind:
        case "extra_forbidden":
            return "There is no such member."
        case "missing":
            return "This member is needed."
        case "model_type" | "model_attributes_type":
            return "The body must be an object."
        case _:
            said = message.removeprefix("Value error, ")
            return f"{said[:1].upper()}{said[1:]}."
