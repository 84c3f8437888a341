"""What these calls say when they say no: a problem (RFC 9457) that is also an error of the service.

Law: bodies only. ``Error`` is the member in which the service's clients look for the reason; the others are those
of every refusal of the gateway. Rules of the domain have the problems that the management API gives them, but
for one habit of the service: what is wrong with a payload is 400, never 422. No text repeats a secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.secret import redact
from keystile.management.api.problems import CONTENT_TYPE, OF_RULE, ApiProblem, Problem

CHALLENGE: Final = 'ApiKey realm="keystile"'


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to say no: ``slug`` of the problem's type, and the usual ``detail``."""

    status: int
    slug: str
    title: str
    detail: str


INVALID_KEY: Final = Kind(401, "invalid-api-key", "Invalid API key", "The API key is not valid, or is no longer.")
ADDRESS_NOT_ALLOWED: Final = Kind(
    403, "address-not-allowed", "Address not allowed", "This API key may not be used from there."
)
SCOPE_MISSING: Final = Kind(403, "scope-missing", "Permission missing", "The API key lacks what this call needs.")
NOT_FOUND: Final = Kind(404, "not-found", "Not found", "There is nothing here.")
METHOD_NOT_ALLOWED: Final = Kind(405, "method-not-allowed", "Method not allowed", "Nothing is done here with this.")
BAD_PAYLOAD: Final = Kind(400, "invalid", "Invalid", "The request says something that cannot be.")
TOO_LARGE: Final = Kind(413, "body-too-large", "Body too large", "The body is larger than any of these calls needs.")


class Refused(Exception):
    """Ends a call with this answer; ``detail`` is a sentence instead of the usual one."""

    def __init__(self, kind: Kind, detail: str | None = None) -> None:
        super().__init__(kind.slug)
        self.kind = kind
        self.detail = detail or kind.detail


def of_problem(problem: Problem, detail: str | None = None) -> Refused:
    """The same answer as in the management API, with the service's status."""
    status = 400 if problem.status == 422 else problem.status
    return Refused(Kind(status, problem.slug, problem.title, problem.detail), detail)


def of_api(found: ApiProblem) -> Refused:
    """What reading a body found."""
    named = f" ({found.field})" if found.field else ""
    return of_problem(found.problem, f"{found.detail or found.problem.detail}{named}")


def of_rule(broken: KeyRuleBroken) -> Refused:
    """A broken rule of the domain; "not found" has one text, whatever it was that is not there."""
    problem, _ = OF_RULE[broken.code]
    return of_problem(problem, None if problem is Problem.NOT_FOUND else broken.message)


def answer(refused: Refused, request_id: str) -> web.Response:
    """The answer. ``request_id``: by which the relay's log knows the request, as in its own refusals."""
    said = redact(refused.detail)
    kind = refused.kind
    members = {
        "type": f"urn:keystile:problem:{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": said,
        "request_id": request_id,
        "Error": said,
    }
    made = web.Response(status=kind.status, body=json.dumps(members).encode("ascii"), content_type=CONTENT_TYPE)
    if kind.status == 401:
        made.headers["WWW-Authenticate"] = CHALLENGE
    if kind.status == 503:
        made.headers["Retry-After"] = "1"
    return made
