from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.management.api.checked import Api, User
from tests.management.running import PASSWORD


async def test_a_new_account_comes_with_a_link_that_sets_its_password_once(api: Api, operator: User) -> None:
    root = await api.session(operator.account)
    answer = await api.ask(root, "POST", "/api/accounts", {"email": "New@Example.com"}, status=201)
    made = answer.json
    assert (made["email"], made["operator"]) == ("new@example.com", False)
    assert answer.headers["Location"] == f"/api/accounts/{made['id']}"
    assert made["link"].startswith(f"{api.app.url}/link?token=")
    token = urlsplit(made["link"]).query.removeprefix("token=")
    await api.access.use_link(token, PASSWORD)
    assert await api.access.sign_in("new@example.com", PASSWORD, "127.0.0.1")
    found = await api.get(root, answer.headers["Location"])
    assert "link" not in found
    assert found.items() <= made.items()


async def test_a_new_link_ends_the_one_before(api: Api, operator: User, ann: User) -> None:
    root = await api.session(operator.account)
    path = f"/api/accounts/{ann.account.id}/password-link"
    first = (await api.ask(root, "POST", path, status=201)).json
    second = (await api.ask(root, "POST", path, {}, status=201)).json
    assert first["link"] != second["link"]
    for link, good in ((first, False), (second, True)):
        token = urlsplit(link["link"]).query.removeprefix("token=")
        assert (await api.access.link(token) is not None) == good
    await api.ask(root, "POST", path, {"email": "x"}, status=422)


async def test_what_lets_people_sign_in_is_made_by_somebody_who_has_signed_in(
    api: Api, operator: User, ann: User
) -> None:
    answer = await api.ask(operator, "POST", "/api/accounts", {"email": "new@example.com"}, status=403)
    assert answer.problem == "session-needed"
    await api.ask(operator, "POST", f"/api/accounts/{ann.account.id}/password-link", status=403)
    emails = [account["email"] for account in (await api.get(operator, "/api/accounts"))["items"]]
    assert emails == ["ann@example.com", "operator@example.com"]


async def test_accounts_come_by_address_in_pages(api: Api, operator: User, ann: User, bob: User) -> None:
    first = await api.get(operator, "/api/accounts?limit=2")
    second = await api.get(operator, f"/api/accounts?limit=2&cursor={first['next']}")
    emails = [account["email"] for account in (*first["items"], *second["items"])]
    assert emails == ["ann@example.com", "bob@example.com", "operator@example.com"]
    assert second["next"] is None


async def test_a_deleted_account_is_out_at_once_with_all_that_it_owns(api: Api, operator: User, ann: User) -> None:
    await api.new_key(ann)
    session = await api.session(ann.account)
    path = f"/api/accounts/{ann.account.id}"
    await api.ask(operator, "DELETE", path, status=204)
    for who in (ann, session):
        await api.ask(who, "GET", "/api/me", status=401)
    assert await api.access.sign_in("ann@example.com", PASSWORD, "127.0.0.1") is None
    assert await api.app.services.keys.list() == ()
    for method in ("GET", "DELETE"):
        await api.ask(operator, method, path, status=404)


async def test_nobody_deletes_the_account_that_asks(api: Api, operator: User) -> None:
    answer = await api.ask(operator, "DELETE", f"/api/accounts/{operator.account.id}", status=409)
    assert answer.problem == "conflict"
    await api.get(operator, "/api/me")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"email": "ann@example.com"}, 409, "email"),
        ({"email": "not an address"}, 422, "email"),
        ({"email": "ünï@example.com"}, 422, "email"),
        ({"email": "new@example.com", "operator": "yes"}, 422, "operator"),
        ({"email": "new@example.com", "password": "secret"}, 422, "password"),
        ({}, 422, "email"),
    ],
)
async def test_an_account_that_cannot_be_is_refused(
    api: Api, operator: User, ann: User, body: dict[str, object], status: int, field: str
) -> None:
    root = await api.session(operator.account)
    answer = await api.ask(root, "POST", "/api/accounts", body, status=status)
    assert answer.json["field"] == field
    assert len((await api.get(operator, "/api/accounts"))["items"]) == 2
