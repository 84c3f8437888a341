"""Attacks: one account against another, a plain account against an operator's calls, a token against its own bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keystile.management.api.openapi import operations
from keystile.management.api.operation import Caller
from tests.management.api.checked import Api, User

NOBODY = "0000000000000000"
ANY = {"If-Match": "*"}
# Every call that names a key or an SMTP credential by its id: method, path, body, fields.
ON_ONE: list[tuple[str, str, object, Mapping[str, str]]] = [
    ("GET", "/api/keys/{id}", None, {}),
    ("GET", "/api/keys/{id}/usage", None, {}),
    ("PATCH", "/api/keys/{id}", {"name": "mine now"}, ANY),
    ("PATCH", "/api/keys/{id}", {"name": "mine now"}, {"If-Match": '"1"'}),
    ("POST", "/api/keys/{id}/change", {}, ANY),
    ("DELETE", "/api/keys/{id}", None, {}),
    ("DELETE", "/api/keys/{id}", None, ANY),
    ("GET", "/api/smtp/{id}", None, {}),
    ("PATCH", "/api/smtp/{id}", {"name": "mine@example.com"}, ANY),
    ("POST", "/api/smtp/{id}/change", {}, ANY),
    ("DELETE", "/api/smtp/{id}", None, {}),
]


@pytest.mark.parametrize(("method", "path", "body", "fields"), ON_ONE)
async def test_what_is_anothers_looks_like_what_is_not_there(
    api: Api, ann: User, bob: User, method: str, path: str, body: object, fields: Mapping[str, str]
) -> None:
    key, smtp = await _belongings(api, ann)
    theirs = key["id"] if path.startswith("/api/keys") else smtp["id"]
    answer = await api.ask(bob, method, path.replace("{id}", theirs), body, headers=fields, status=404)
    nothing = await api.ask(bob, method, path.replace("{id}", NOBODY), body, headers=fields, status=404)
    assert answer.text == nothing.text
    assert await _belongings_now(api, ann) == (key["hint"], 1, smtp["hint"], 1)


@pytest.mark.parametrize(("method", "path", "body", "fields"), ON_ONE)
async def test_naming_the_other_account_does_not_help(
    api: Api, ann: User, bob: User, method: str, path: str, body: object, fields: Mapping[str, str]
) -> None:
    key, smtp = await _belongings(api, ann)
    theirs = key["id"] if path.startswith("/api/keys") else smtp["id"]
    named = path.replace("{id}", theirs)
    answer = await api.ask(bob, method, f"{named}?account=ann@example.com", body, headers=fields, status=403)
    # The same for an account that does not exist: nobody learns who has one.
    nobody = await api.ask(bob, method, f"{named}?account=nobody@example.com", body, headers=fields, status=403)
    assert answer.text == nobody.text
    assert await _belongings_now(api, ann) == (key["hint"], 1, smtp["hint"], 1)


@pytest.mark.parametrize("path", ["/api/keys", "/api/smtp", "/api/events"])
async def test_no_list_shows_what_is_anothers(api: Api, ann: User, bob: User, path: str) -> None:
    key, smtp = await _belongings(api, ann)
    text = (await api.ask(bob, "GET", path, status=200)).text
    for trace in (key["id"], smtp["id"], key["hint"], "ann@example.com"):
        assert trace not in text
    await api.ask(bob, "GET", f"{path}?account=ann@example.com", status=403)


async def test_a_cursor_of_one_account_shows_nothing_of_it_to_another(api: Api, ann: User, bob: User) -> None:
    for name in ("a", "b", "c"):
        await api.new_key(ann, name)
    for path in ("/api/keys?limit=1", "/api/events?limit=1"):
        cursor = (await api.get(ann, path))["next"]
        page = await api.ask(bob, "GET", f"{path}&cursor={cursor}", status=200)
        assert "ann@example.com" not in page.text


async def test_tokens_and_events_are_ones_own_even_for_an_operator(api: Api, ann: User, operator: User) -> None:
    (token,) = (await api.get(ann, "/api/tokens"))["items"]
    root = await api.session(operator.account)
    assert token["id"] not in (await api.ask(root, "GET", "/api/tokens", status=200)).text
    answer = await api.ask(root, "DELETE", f"/api/tokens/{token['id']}", status=404)
    assert answer.text == (await api.ask(root, "DELETE", f"/api/tokens/{NOBODY}", status=404)).text
    await api.get(ann, "/api/me")


async def test_a_token_ends_only_itself_and_makes_no_other(api: Api, ann: User) -> None:
    other = await api.token(ann.account)
    listed = {token["hint"]: token["id"] for token in (await api.get(ann, "/api/tokens"))["items"]}
    answer = await api.ask(ann, "DELETE", f"/api/tokens/{listed[other.secret[-5:]]}", status=403)
    assert answer.problem == "session-needed"
    await api.ask(ann, "POST", "/api/tokens", {"name": "another"}, status=403)
    await api.ask(ann, "DELETE", "/api/session", status=403)
    await api.ask(ann, "DELETE", f"/api/tokens/{listed[ann.secret[-5:]]}", status=204)
    await api.ask(ann, "GET", "/api/me", status=401)
    await api.get(other, "/api/me")


def _operators_calls() -> list[tuple[str, str]]:
    """Read from the rows, so that no new one can be forgotten."""
    rows = [row for row in operations() if row.caller in (Caller.OPERATOR, Caller.OPERATOR_TOKEN)]
    assert len(rows) >= 7
    return [(row.method, row.path.replace("{id}", NOBODY)) for row in rows]


@pytest.mark.parametrize(("method", "path"), _operators_calls())
@pytest.mark.parametrize("came_in_by", ["token", "session"])
async def test_what_is_for_operators_is_for_nobody_else(
    api: Api, ann: User, method: str, path: str, came_in_by: str
) -> None:
    who = ann if came_in_by == "token" else await api.session(ann.account)
    answer = await api.ask(who, method, path, status=403)
    assert answer.problem == "operators-only"


@pytest.mark.parametrize(("method", "path"), [(row.method, row.path.replace("{id}", NOBODY)) for row in operations()])
async def test_who_has_not_come_in_gets_nothing_but_the_document(api: Api, method: str, path: str) -> None:
    answer = await api.ask(None, method, path)
    if path == "/api/openapi.json":
        assert answer.status == 200
    else:
        assert (answer.status, answer.problem) == (401, "sign-in-required")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "credentials",
    [
        "Bearer kst_" + "0" * 64,
        "Bearer",
        "Bearer ",
        "Basic YW5uOnB3",
        "bearer  x y",
        "Bearer " + "A" * 96,
    ],
)
async def test_credentials_that_are_none_are_refused_alike(api: Api, credentials: str) -> None:
    answer = await api.ask(None, "GET", "/api/me", headers={"Authorization": credentials}, status=401)
    assert answer.text == (await api.ask(None, "GET", "/api/me", status=401)).text


async def test_an_api_key_is_no_management_token_nor_an_smtp_credential_one(api: Api, ann: User) -> None:
    key, smtp = await _belongings(api, ann)
    for secret in (key["key"], smtp["secret"]):
        await api.ask(None, "GET", "/api/me", headers={"Authorization": f"Bearer {secret}"}, status=401)
        await api.ask(None, "GET", "/api/me", headers={"X-Api-Key": secret}, status=401)


async def test_identity_fields_are_not_read(api: Api, operator: User) -> None:
    fields = {
        "X-Keystile-Account": "operator@example.com",
        "X-Keystile-Key": operator.account.id,
        "X-Keystile-Scopes": "ViewAccessTokens ModifyAccessTokens",
    }
    await api.ask(None, "GET", "/api/accounts", headers=fields, status=401)


@pytest.mark.parametrize("token", [None, "", "0" * 64])
async def test_a_change_by_cookie_needs_the_sessions_own_csrf_token(api: Api, ann: User, token: str | None) -> None:
    session = await api.session(ann.account)
    headers = {"Cookie": session.headers["Cookie"]} | ({} if token is None else {"X-CSRF-Token": token})
    for method, path, body in (("POST", "/api/keys", {"name": "k"}), ("DELETE", "/api/session", None)):
        answer = await api.ask(None, method, path, body, headers=headers, status=403)
        assert answer.problem == "forbidden"
    await api.get(session, "/api/me")
    assert (await api.get(session, "/api/keys"))["items"] == []


async def test_a_change_sent_by_another_site_is_refused_whatever_it_carries(api: Api, ann: User) -> None:
    session = await api.session(ann.account)
    await api.ask(session, "POST", "/api/keys", {"name": "k"}, headers={"Origin": "https://evil.example"}, status=403)
    assert (await api.get(session, "/api/keys"))["items"] == []


async def test_no_answer_lets_another_site_read_it(api: Api, ann: User) -> None:
    answer = await api.ask(ann, "GET", "/api/keys", headers={"Origin": "https://evil.example"}, status=200)
    assert not any(name.lower().startswith("access-control") for name in answer.headers)
    answer = await api.ask(
        None,
        "OPTIONS",
        "/api/keys",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
        status=405,
    )
    assert not any(name.lower().startswith("access-control") for name in answer.headers)


async def test_an_operator_may_do_for_an_account_what_its_owner_may(api: Api, ann: User, operator: User) -> None:
    key, _ = await _belongings(api, ann)
    assert (await api.get(operator, "/api/keys"))["items"] == []
    for_ann = "?account=Ann@Example.com"
    assert (await api.get(operator, f"/api/keys/{key['id']}{for_ann}"))["id"] == key["id"]
    await api.ask(operator, "GET", f"/api/keys/{key['id']}", status=404)
    await api.ask(operator, "PATCH", f"/api/keys/{key['id']}{for_ann}", {"name": "x"}, headers=ANY, status=200)
    made = (await api.ask(operator, "POST", f"/api/keys{for_ann}", {"name": "made"}, status=201)).json
    assert made["account"] == "ann@example.com"
    (newest, *_) = (await api.get(ann, "/api/events"))["items"]
    assert (newest["what"], newest["actor"]) == ("key.created", "operator@example.com")
    answer = await api.ask(operator, "GET", "/api/keys?account=nobody@example.com", status=404)
    assert answer.problem == "not-found"


async def _belongings(api: Api, user: User) -> tuple[Any, Any]:
    key = await api.new_key(user, "theirs", scopes=["Export"])
    smtp = (await api.ask(user, "POST", "/api/smtp", {"name": "theirs@example.com"}, status=201)).json
    return key, smtp


async def _belongings_now(api: Api, user: User) -> tuple[str, int, str, int]:
    (key,) = (await api.get(user, "/api/keys"))["items"]
    (smtp,) = (await api.get(user, "/api/smtp"))["items"]
    return key["hint"], key["version"], smtp["hint"], smtp["version"]
