from __future__ import annotations

import pytest

from tests.management.api.checked import Api, User


async def test_a_token_is_shown_once_and_comes_in(api: Api, ann: User) -> None:
    session = await api.session(ann.account)
    body = {"name": "deploy", "expires": "2999-01-01T00:00:00Z"}
    made = (await api.ask(session, "POST", "/api/tokens", body, status=201)).json
    bearer = {"Authorization": f"Bearer {made['token']}"}
    me = (await api.ask(None, "GET", "/api/me", headers=bearer, status=200)).json
    assert (me["signed_in_by"], me["csrf"], me["account"]["email"]) == ("token", None, "ann@example.com")
    listed = await api.ask(session, "GET", "/api/tokens", status=200)
    assert made["token"] not in listed.text
    (shown,) = [token for token in listed.json["items"] if token["id"] == made["id"]]
    assert (shown["hint"], shown["expires"]) == (made["token"][-5:], "2999-01-01T00:00:00Z")
    assert shown["last_used_from"] == "127.0.0.1"


async def test_a_deleted_token_is_out_at_once(api: Api, ann: User) -> None:
    session = await api.session(ann.account)
    made = (await api.ask(session, "POST", "/api/tokens", {"name": "deploy"}, status=201)).json
    bearer = {"Authorization": f"Bearer {made['token']}"}
    await api.ask(None, "GET", "/api/me", headers=bearer, status=200)
    await api.ask(session, "DELETE", f"/api/tokens/{made['id']}", status=204)
    await api.ask(None, "GET", "/api/me", headers=bearer, status=401)
    await api.ask(session, "DELETE", f"/api/tokens/{made['id']}", status=404)


async def test_tokens_come_by_name_in_pages_though_names_repeat(api: Api, ann: User) -> None:
    session = await api.session(ann.account)
    for name in ("b", "a", "b"):
        await api.ask(session, "POST", "/api/tokens", {"name": name}, status=201)
    names, path = [], "/api/tokens?limit=1"
    page = await api.get(ann, path)
    while page["next"]:
        names += [token["name"] for token in page["items"]]
        page = await api.get(ann, f"{path}&cursor={page['next']}")
    assert [*names, page["items"][0]["name"]] == ["a", "b", "b", "test"]


async def test_the_sixteenth_token_is_refused(api: Api, ann: User) -> None:
    session = await api.session(ann.account)
    for number in range(14):
        await api.ask(session, "POST", "/api/tokens", {"name": f"t{number}"}, status=201)
    answer = await api.ask(session, "POST", "/api/tokens", {"name": "one more"}, status=409)
    assert answer.problem == "limit-reached"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "t", "expires": "2001-01-01T00:00:00Z"}, "expires"),
        ({"name": "t", "expires": "soon"}, "expires"),
        ({"name": "t", "scopes": []}, "scopes"),
    ],
)
async def test_a_token_that_cannot_be_is_refused(api: Api, ann: User, body: dict[str, object], field: str) -> None:
    session = await api.session(ann.account)
    answer = await api.ask(session, "POST", "/api/tokens", body, status=422)
    assert answer.json["field"] == field
