"""Every way in which the management API says no, and the one place that makes answers of them (RFC 9457).

Law: this file knows problems, statuses and the errors of the domain, and no resource. What was not foreseen says
"Internal error" outside and everything in the log. No problem repeats a secret: texts go through ``redact``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Final

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken, RuleCode
from keystile.keys.secret import redact
from keystile.management.entry import AccessCode, AccessRefused

CONTENT_TYPE: Final = "application/problem+json"
LONGEST_FIELD: Final = 100
"""Characters of a member's or parameter's name that a problem repeats."""
SCHEMA: Final = {
    "type": "object",
    "description": "Why a call was not carried out (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Which problem: `urn:keystile:problem:` and its name."},
        "title": {"type": "string", "description": "The same for people."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong this time, in a sentence for people."},
        "field": {"type": "string", "description": "The member, parameter or header field that is to blame."},
    },
}


class Problem(Enum):
    """``status``, slug of the type (``urn:keystile:problem:<slug>``), title, and the usual detail."""

    MALFORMED = (400, "malformed", "Malformed request", "The request is not well-formed.")
    UNAUTHENTICATED = (401, "sign-in-required", "Sign-in required", "Sign in, or send a management token as Bearer.")
    FORBIDDEN = (403, "forbidden", "Forbidden", "This is not allowed.")
    OPERATORS_ONLY = (403, "operators-only", "Operators only", "Only an operator may do this.")
    SESSION_NEEDED = (
        403,
        "session-needed",
        "Session needed",
        "This needs a session: what a management token made here could outlive the token.",
    )
    TOKEN_NEEDED = (403, "token-needed", "Management token needed", "This is for management tokens of operators.")
    BEYOND_AUTHORITY = (403, "beyond-authority", "Beyond authority", "A credential hands on no more than it has.")
    NOT_FOUND = (404, "not-found", "Not found", "There is nothing here.")
    METHOD_NOT_ALLOWED = (405, "method-not-allowed", "Method not allowed", "Nothing is done here with this method.")
    CONFLICT = (409, "conflict", "Conflict", "This contradicts what is there.")
    NAME_TAKEN = (409, "name-taken", "Name taken", "There is one of this name.")
    LIMIT_REACHED = (409, "limit-reached", "Limit reached", "The account owns as many as it may.")
    IN_PROGRESS = (
        409,
        "in-progress",
        "Still in progress",
        "A request with this Idempotency-Key is being answered. Try again when it is.",
    )
    OUTCOME_UNKNOWN = (
        409,
        "outcome-unknown",
        "Outcome unknown",
        "The first request with this Idempotency-Key was cut off, and may or may not have been carried out. "
        "Look at what is there, then ask with another Idempotency-Key.",
    )
    GONE_SINCE = (
        409,
        "gone-since",
        "Gone since",
        "What the first request with this Idempotency-Key made has been deleted since. Use another Idempotency-Key.",
    )
    STALE = (412, "stale", "Edited meanwhile", "It has been edited since you looked. Get it again.")
    TOO_LARGE = (413, "body-too-large", "Body too large", "A body has at most 64 KiB.")
    UNSUPPORTED_TYPE = (415, "unsupported-media-type", "Unsupported media type", "Send JSON in UTF-8.")
    WRONG_HOST = (421, "wrong-host", "Misdirected request", "This host is not served here.")
    INVALID = (422, "invalid", "Invalid", "The request is understood, but says something that cannot be.")
    KEY_REUSED = (
        422,
        "idempotency-key-reused",
        "Idempotency-Key used before",
        "This Idempotency-Key came with another request. Use a new one for every request that is not a repetition.",
    )
    IF_MATCH_NEEDED = (
        428,
        "if-match-needed",
        "If-Match needed",
        "Say with If-Match which version you have seen (its ETag), or * for any.",
    )
    TOO_MANY_REQUESTS = (429, "too-many-requests", "Too many requests", "Try again later.")
    INTERNAL_ERROR = (500, "internal-error", "Internal error", "The gateway failed. It has been logged.")
    STORE_UNAVAILABLE = (503, "store-unavailable", "Store unavailable", "The key store cannot be used now. Try again.")

    def __init__(self, status: int, slug: str, title: str, detail: str) -> None:
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail

    @property
    def type(self) -> str:
        """The problem type, as it stands in answers."""
        return f"urn:keystile:problem:{self.slug}"


OF_RULE: Final[Mapping[RuleCode, tuple[Problem, str | None]]] = {
    # The problem of each rule, and the member or parameter that is to blame. A test holds the list complete.
    "too_many_keys": (Problem.LIMIT_REACHED, None),
    "too_many_credentials": (Problem.LIMIT_REACHED, None),
    "name_taken": (Problem.NAME_TAKEN, "name"),
    "no_such_account": (Problem.NOT_FOUND, None),
    "no_such_key": (Problem.NOT_FOUND, None),
    "no_such_credential": (Problem.NOT_FOUND, None),
    "bad_name": (Problem.INVALID, "name"),
    "bad_scope": (Problem.INVALID, "scopes"),
    "bad_network": (Problem.INVALID, "allowed_networks"),
    "bad_expiry": (Problem.INVALID, "expires"),
    "bad_overlap": (Problem.INVALID, "overlap"),
    "expiry_in_the_past": (Problem.INVALID, "expires"),
    "conflict": (Problem.STALE, "If-Match"),
    "bad_digest": (Problem.INVALID, "digest"),
    "bad_hint": (Problem.INVALID, "hint"),
    "digest_taken": (Problem.CONFLICT, "digest"),
    "account_exists": (Problem.CONFLICT, "email"),
    "bad_email": (Problem.INVALID, "email"),
    "beyond_authority": (Problem.BEYOND_AUTHORITY, None),
}
OF_ACCESS: Final[Mapping[AccessCode, Problem]] = {
    # The same for the rules of coming in.
    "wrong_password": Problem.FORBIDDEN,
    "bad_password": Problem.INVALID,
    "link_over": Problem.NOT_FOUND,
    "too_many_tokens": Problem.LIMIT_REACHED,
    "session_needed": Problem.SESSION_NEEDED,
    "no_such_token": Problem.NOT_FOUND,
}
_USUAL: Final = {
    # What a plain status means where nothing more precise was said.
    400: Problem.MALFORMED,
    401: Problem.UNAUTHENTICATED,
    403: Problem.FORBIDDEN,
    404: Problem.NOT_FOUND,
    405: Problem.METHOD_NOT_ALLOWED,
    413: Problem.TOO_LARGE,
    415: Problem.UNSUPPORTED_TYPE,
    421: Problem.WRONG_HOST,
    422: Problem.INVALID,
    429: Problem.TOO_MANY_REQUESTS,
    500: Problem.INTERNAL_ERROR,
    503: Problem.STORE_UNAVAILABLE,
}


class ApiProblem(Exception):
    """Ends a call with this answer. ``field``: the member, parameter or header field that is to blame."""

    def __init__(
        self,
        problem: Problem,
        detail: str | None = None,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(problem.slug)
        self.problem = problem
        self.detail = detail
        self.field = field
        self.headers = headers or {}


def say(
    problem: Problem, detail: str | None = None, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The answer that says ``problem``."""
    said: dict[str, object] = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": redact(detail or problem.detail),
    }
    if field is not None:
        said["field"] = redact(field)[:LONGEST_FIELD]
    made = web.Response(status=problem.status, body=json.dumps(said).encode("ascii"), content_type=CONTENT_TYPE)
    made.headers["Cache-Control"] = "no-store"
    made.headers.update(headers or {})
    if problem.status == 401:
        made.headers.setdefault("WWW-Authenticate", 'Bearer realm="keystile"')
    if problem.status == 503:
        made.headers.setdefault("Retry-After", "1")
    return made


def answer(status: int, title: str = "", text: str = "") -> web.Response:
    """The answer of who knows a status only: the application, for what no operation has answered.

    ``title`` and ``text`` (one sentence) stand where the list has no problem of this status.
    """
    problem = _USUAL.get(status)
    if problem is not None:
        return say(problem, text or None)
    said = {"type": "about:blank", "title": title, "status": status, "detail": redact(text or title)}
    made = web.Response(status=status, body=json.dumps(said).encode("ascii"), content_type=CONTENT_TYPE)
    made.headers["Cache-Control"] = "no-store"
    return made


def of_rule(broken: KeyRuleBroken) -> web.Response:
    """The answer to a broken rule of the domain."""
    problem, field = OF_RULE[broken.code]
    # "Not found" has one body, so that what is another's looks like what is not there at all.
    return say(problem, None if problem is Problem.NOT_FOUND else broken.message, field=field)


def of_access(refused: AccessRefused) -> web.Response:
    """The answer to a broken rule of coming in."""
    problem = OF_ACCESS[refused.code]
    return say(problem, None if problem is Problem.NOT_FOUND else refused.message)
