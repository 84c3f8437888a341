"""One operation of the API: a row that says all of it. Its route and its place in the document come from the row.

Law: who may call, what is read and which answers there are is said once, in the row; ``answer_call`` does what
the row says in one order for all: who asks, query, body, then the handler. A handler only translates between
HTTP and the domain.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from keystile.keys.errors import KeyRuleBroken
from keystile.management.api.answers import Answer
from keystile.management.api.body import JSON, read
from keystile.management.api.problems import ApiProblem, Problem, of_access, of_rule, say
from keystile.management.api.query import ACCOUNT, Parameter, read_query
from keystile.management.api.shapes import Shape
from keystile.management.context import Services, services
from keystile.management.entry import AccessRefused
from keystile.management.identity import Identity, account_of, actor, identity_of, origin_of

Body = TypeVar("Body")


class Caller(Enum):
    """Who may call."""

    ANYBODY = "anybody"
    ACCOUNT = "account"
    OPERATOR = "operator"
    OPERATOR_TOKEN = "operator's management token"


@dataclass(frozen=True, slots=True)
class Call(Generic[Body]):
    """One call, after all that its row says has been checked."""

    request: web.Request
    query: Mapping[str, Any]
    body: Body

    @property
    def parts(self) -> Services:
        """The domain."""
        return services(self.request)

    @property
    def identity(self) -> Identity:
        """Who asks."""
        return account_of(self.request)

    @property
    def by(self) -> dict[str, Any]:
        """``actor`` and ``origin`` for the domain's events."""
        return {"actor": actor(self.identity), "origin": origin_of(self.request)}

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.request.match_info["id"]

    @property
    def account(self) -> str:
        """The e-mail address of whose things this is about; raises ApiProblem where that is not for the caller."""
        asked: str | None = self.query.get(ACCOUNT.name)
        own = self.identity.account
        if asked is not None and asked != own.email and not own.operator:
            # Before anything is looked up, so that nobody learns which accounts there are.
            raise ApiProblem(Problem.OPERATORS_ONLY, field=ACCOUNT.name)
        return asked or own.email

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self.parts.clock()


@dataclass(frozen=True, slots=True)
class Success:
    """An answer that is no problem: its shape (several: one of them; None: no body), its meaning, its header fields."""

    shape: type[Answer] | tuple[type[Answer], ...] | None
    description: str
    headers: tuple[str, ...] = ()

    @property
    def shapes(self) -> tuple[type[Answer], ...]:
        """The shapes it may have."""
        if self.shape is None:
            return ()
        return self.shape if isinstance(self.shape, tuple) else (self.shape,)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row. ``problems``: those that this operation gives besides what follows from the row itself."""

    method: str
    path: str
    name: str
    summary: str
    handle: Callable[[Call[Any]], Awaitable[web.StreamResponse]]
    answers: Mapping[int, Success]
    caller: Caller = Caller.ACCOUNT
    description: str = ""
    body: type[Shape] | None = None
    body_types: tuple[str, ...] = JSON
    body_needed: bool = True
    query: tuple[Parameter, ...] = ()
    if_match: bool | None = None  # None: not read; True: needed
    idempotent: bool = False  # reads Idempotency-Key
    problems: frozenset[Problem] = field(default_factory=frozenset)

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    def all_problems(self) -> frozenset[Problem]:
        """Every problem that this operation may answer with, its own and those that follow from the row."""
        found = {Problem.MALFORMED, Problem.WRONG_HOST, Problem.INTERNAL_ERROR, Problem.STORE_UNAVAILABLE}
        if self.caller is not Caller.ANYBODY:
            found |= {Problem.UNAUTHENTICATED}
            found |= set() if self.is_safe else {Problem.FORBIDDEN}
        if self.caller in (Caller.OPERATOR, Caller.OPERATOR_TOKEN) or ACCOUNT in self.query:
            found |= {Problem.OPERATORS_ONLY}
        if self.caller is Caller.OPERATOR_TOKEN:
            found |= {Problem.TOKEN_NEEDED}
        if "{id}" in self.path or ACCOUNT in self.query:
            found |= {Problem.NOT_FOUND}
        if self.body is not None:
            found |= {Problem.TOO_LARGE, Problem.UNSUPPORTED_TYPE, Problem.INVALID}
        if self.if_match is not None:
            found |= {Problem.STALE} | ({Problem.IF_MATCH_NEEDED} if self.if_match else set())
        if self.idempotent:
            found |= {Problem.KEY_REUSED, Problem.IN_PROGRESS, Problem.OUTCOME_UNKNOWN, Problem.GONE_SINCE}
        return frozenset(found) | self.problems

    def route(self) -> web.RouteDef:
        """The route of it. Ids are hexadecimal, so no id is taken for the name of an operation beside it."""
        path = re.sub(r"\{id\}", "{id:[0-9a-f]{8,64}}", self.path)
        # GET answers HEAD as well (RFC 9110 section 9.1); the document does not repeat that.
        return web.get(path, self._handler()) if self.is_safe else web.route(self.method, path, self._handler())

    def _handler(self) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await answer_call(self, request)

        return handler


async def answer_call(operation: Operation, request: web.Request) -> web.StreamResponse:
    """Answer one request by its row; what the domain refuses becomes a problem here."""
    try:
        _admit(operation.caller, request)
        query = read_query(request, operation.query)
        body = None
        if operation.body is not None:
            body = await read(request, operation.body, operation.body_types, needed=operation.body_needed)
        return await operation.handle(Call(request, query, body))
    except ApiProblem as said:
        return say(said.problem, said.detail, field=said.field, headers=said.headers)
    except KeyRuleBroken as broken:
        return of_rule(broken)
    except AccessRefused as refused:
        return of_access(refused)


def _admit(caller: Caller, request: web.Request) -> None:
    """Raise ApiProblem unless whoever asks is one of those who may call."""
    if caller is Caller.ANYBODY:
        return
    identity = identity_of(request)
    if identity is None:
        raise ApiProblem(Problem.UNAUTHENTICATED)
    if caller is not Caller.ACCOUNT and not identity.account.operator:
        raise ApiProblem(Problem.OPERATORS_ONLY)
    if caller is Caller.OPERATOR_TOKEN and identity.kind != "token":
        raise ApiProblem(Problem.TOKEN_NEEDED)


def must_end_in_time(call: Call[Any], expires: float | None) -> None:
    """Raise ApiProblem where a management token would make, or get hold of, a credential that outlives it."""
    limit = call.identity.expires
    if limit is not None and (expires is None or expires > limit):
        detail = "The management token ends before this credential would."
        raise ApiProblem(Problem.BEYOND_AUTHORITY, detail, field="expires")
