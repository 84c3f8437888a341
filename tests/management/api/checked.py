"""A client of the API that holds every answer against the API's document.

Law: whatever a test asks, the answer's status, media type, header fields and body must be described. Where the
document says nothing (no such path, no such method) the answer must be a problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from aiohttp import ClientSession, DummyCookieJar
from jsonschema import Draft202012Validator, FormatChecker

from keystile.keys.key import Account
from keystile.management.access import Access
from keystile.management.api.openapi import document, operations
from keystile.management.api.problems import ApiProblem
from keystile.management.entry import SignedIn
from tests.management.running import ACTOR, PASSWORD, Managed

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has been held against the document; ``json`` is None where there is no body."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text) if self.text else None

    @property
    def problem(self) -> str:
        """The slug of its problem type."""
        return str(self.json["type"]).rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account and one way to come in: header fields that carry it."""

    account: Account
    headers: Mapping[str, str]
    secret: str


class Api:
    """The API of a running application."""

    def __init__(self, app: Managed, client: ClientSession) -> None:
        self.app = app
        self.client = client

    async def user(self, email: str, *, operator: bool = False, expires: float | None = None) -> User:
        """A new account, and a management token of it."""
        account = await self.app.account(email, operator=operator)
        return await self.token(account, expires)

    async def token(self, account: Account, expires: float | None = None) -> User:
        """Another management token of the account."""
        signed_in = await self._signed_in(account)
        _, secret = await self.access.create_token(signed_in.identity, "test", expires, **ACTOR)
        return User(account, {"Authorization": f"Bearer {secret}"}, secret)

    async def session(self, account: Account) -> User:
        """A session of the account, with its X-CSRF-Token."""
        signed_in = await self._signed_in(account)
        headers = {"Cookie": f"keystile={signed_in.secret}", "X-CSRF-Token": signed_in.identity.csrf}
        return User(account, headers, signed_in.secret)

    async def _signed_in(self, account: Account) -> SignedIn:
        found = await self.access.sign_in(account.email, PASSWORD, "127.0.0.1")
        assert isinstance(found, SignedIn)
        return found

    @property
    def access(self) -> Access:
        """Of the application."""
        return self.app.services.access

    async def ask(
        self,
        user: User | None,
        method: str,
        path: str,
        body: object = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> Answer:
        """Send one request, hold the answer against the document, and return it. ``status``: what it must be."""
        fields = {**(user.headers if user else {}), **(headers or {})}
        if body is not None:
            data = json.dumps(body).encode()
            fields.setdefault("Content-Type", "application/json")
        async with self.client.request(
            method, self.app.url + path, data=data, headers=fields, skip_auto_headers=("Content-Type",)
        ) as got:
            answer = Answer(got.status, got.headers.copy(), await got.text())
        conforms(method, path.partition("?")[0], answer)
        if status is not None:
            assert answer.status == status, answer.text
        return answer

    async def get(self, user: User | None, path: str, status: int = 200) -> Any:
        """The JSON at a path."""
        return (await self.ask(user, "GET", path, status=status)).json

    async def new_key(self, user: User, name: str = "main", **facts: object) -> Any:
        """A new API key, as it is answered."""
        return (await self.ask(user, "POST", "/api/keys", {"name": name, **facts}, status=201)).json


def refusal(ask: Callable[[], object]) -> ApiProblem | None:
    """What ``ask`` is refused with; None where it is not."""
    try:
        ask()
    except ApiProblem as said:
        return said
    return None


def api_client() -> ClientSession:
    """A client that keeps no cookies: every request says who it is from."""
    return ClientSession(cookie_jar=DummyCookieJar())


@cache
def described() -> dict[str, Any]:
    """The document."""
    return document(operations())


def conforms(method: str, path: str, answer: Answer) -> None:
    """Fail unless the answer is one that the document describes."""
    assert answer.headers["Cache-Control"] == "no-store"
    operation = _operation("GET" if method == "HEAD" else method, path)
    if operation is None:
        assert answer.status in (400, 401, 403, 404, 405, 421), answer.text
        _is_problem(answer)
        return
    assert str(answer.status) in operation["responses"], f"{method} {path} → {answer.status}: {answer.text}"
    response = _followed(operation["responses"][str(answer.status)])
    for name, header in response.get("headers", {}).items():
        assert name in answer.headers or not header.get("required"), f"{name} is missing"
        if name in answer.headers:
            _valid(answer.headers[name], header["schema"])
    if method != "HEAD":
        _body_conforms(response, answer)
    if answer.status >= 400 and method != "HEAD":
        _is_problem(answer)


def _body_conforms(response: Mapping[str, Any], answer: Answer) -> None:
    content = response.get("content", {})
    if not content:
        assert not answer.text
        return
    kind = answer.headers["Content-Type"].partition(";")[0]
    assert kind in content, f"{kind} is not described"
    _valid(answer.json, content[kind]["schema"])


def _is_problem(answer: Answer) -> None:
    assert answer.headers["Content-Type"] == PROBLEM
    _valid(answer.json, {"$ref": "#/components/schemas/Problem"})
    assert answer.json["status"] == answer.status
    # Strict where the document is open: a problem has these members and no others.
    assert set(answer.json) <= {"type", "title", "status", "detail", "field"}


def _operation(method: str, path: str) -> Mapping[str, Any] | None:
    for template, item in described()["paths"].items():
        if re.fullmatch(template.replace("{id}", "[0-9a-f]{8,64}"), path) and method.lower() in item:
            found: Mapping[str, Any] = item[method.lower()]
            return found
    return None


def _followed(response: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in response:
        return response
    found: Mapping[str, Any] = described()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def _valid(value: object, schema: Mapping[str, Any]) -> None:
    # What "#/components/…" names is found in the schema itself, as it is in the document.
    whole = {**schema, "components": described()["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)
