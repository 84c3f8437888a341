from __future__ import annotations

from typing import Any

import pytest

from tests.management.api.checked import Api, User

NAME = "mail@example.com"


async def test_an_smtp_credential_lives_as_a_key_does(api: Api, ann: User) -> None:
    body = {"name": NAME, "allowed_networks": ["10.0.0.0/8"], "expires": "2999-01-01T00:00:00Z"}
    answer = await api.ask(ann, "POST", "/api/smtp", body, status=201)
    made, path = answer.json, answer.headers["Location"]
    assert (made["scope"], made["hint"], made["version"]) == ("SendSmtp", made["secret"][-5:], 1)
    assert "secret" not in await api.get(ann, path)
    seen = {"If-Match": '"1"'}
    await api.ask(ann, "PATCH", path, {"name": "x@example.com"}, status=428)
    edited = await api.ask(ann, "PATCH", path, {"name": "x@example.com", "expires": None}, headers=seen, status=200)
    assert (edited.json["name"], edited.json["expires"], edited.json["allowed_networks"]) == (
        "x@example.com",
        None,
        ["10.0.0.0/8"],
    )
    await api.ask(ann, "PATCH", path, {"name": "y@example.com"}, headers=seen, status=412)
    changed = await api.ask(ann, "POST", f"{path}/change", headers={"If-Match": edited.headers["ETag"]}, status=200)
    assert changed.json["secret"] not in (made["secret"], None)
    await api.ask(ann, "POST", f"{path}/change", {"overlap": 5}, headers={"If-Match": "*"}, status=422)
    assert [each["hint"] for each in (await api.get(ann, "/api/smtp"))["items"]] == [changed.json["hint"]]
    await api.ask(ann, "DELETE", path, headers={"If-Match": '"1"'}, status=412)
    await api.ask(ann, "DELETE", path, status=204)
    await api.ask(ann, "GET", path, status=404)


async def test_a_name_is_an_address_and_taken_once(api: Api, ann: User) -> None:
    await api.ask(ann, "POST", "/api/smtp", {"name": NAME}, status=201)
    assert (await api.ask(ann, "POST", "/api/smtp", {"name": NAME}, status=409)).problem == "name-taken"
    answer = await api.ask(ann, "POST", "/api/smtp", {"name": "no address"}, status=422)
    assert answer.json["field"] == "name"
    for unknown in ({"scopes": ["Export"]}, {"scope": "SendSmtp"}):
        answer = await api.ask(ann, "POST", "/api/smtp", {"name": NAME, **unknown}, status=422)
        assert answer.json["field"] in unknown


async def test_smtp_credentials_and_keys_are_counted_apart(api: Api, ann: User) -> None:
    for number in range(15):
        await api.ask(ann, "POST", "/api/smtp", {"name": f"m{number}@example.com"}, status=201)
    answer = await api.ask(ann, "POST", "/api/smtp", {"name": NAME}, status=409)
    assert answer.problem == "limit-reached"
    await api.new_key(ann)
    page = await api.get(ann, "/api/smtp?limit=10")
    assert len((await api.get(ann, f"/api/smtp?limit=10&cursor={page['next']}"))["items"]) == 5


async def test_the_mail_relay_learns_whether_a_credential_is_good_and_no_more(
    api: Api, ann: User, operator: User
) -> None:
    body = {"name": NAME, "allowed_networks": ["192.0.2.0/24"]}
    made = (await api.ask(ann, "POST", "/api/smtp", body, status=201)).json
    key = await api.new_key(ann)
    good = {"name": NAME, "secret": made["secret"], "address": "192.0.2.9"}
    answer = await _verified(api, operator, good)
    assert answer == {"valid": True, "account": "ann@example.com", "id": made["id"]}
    for wrong in (
        {**good, "secret": made["secret"][:-1] + ("1" if made["secret"][-1] == "0" else "0")},
        {**good, "secret": key["key"]},
        {**good, "secret": ""},
        {**good, "secret": "\u0000" * 1024},
        {**good, "name": "other@example.com"},
        {**good, "address": "198.51.100.1"},
        {**good, "address": None},
    ):
        assert await _verified(api, operator, wrong) == {"valid": False, "account": None, "id": None}
    assert (await _verified(api, operator, {**good, "address": "::ffff:192.0.2.9"}))["valid"]


async def test_verifying_is_for_an_operators_token_alone(api: Api, ann: User, operator: User) -> None:
    body = {"name": NAME, "secret": "x"}
    assert (await api.ask(ann, "POST", "/api/smtp/verify", body, status=403)).problem == "operators-only"
    root = await api.session(operator.account)
    assert (await api.ask(root, "POST", "/api/smtp/verify", body, status=403)).problem == "token-needed"


@pytest.mark.parametrize(
    ("more", "field"),
    [({"address": "mail.example.com"}, "address"), ({"secret": None}, "secret"), ({"ip": "192.0.2.1"}, "ip")],
)
async def test_a_question_that_cannot_be_is_refused(
    api: Api, operator: User, more: dict[str, Any], field: str
) -> None:
    body = {"name": NAME, "secret": "hidden-5f3c", **more}
    answer = await api.ask(operator, "POST", "/api/smtp/verify", body, status=422)
    assert answer.json["field"] == field
    assert "hidden-5f3c" not in answer.text


async def test_a_token_that_ends_makes_no_credential_that_would_outlive_it(api: Api, ann: User) -> None:
    made = (await api.ask(ann, "POST", "/api/smtp", {"name": NAME}, status=201)).json
    short = await api.token(ann.account, expires=api.app.services.clock() + 60)
    path, seen = f"/api/smtp/{made['id']}", {"If-Match": "*"}
    await api.ask(short, "POST", "/api/smtp", {"name": "x@example.com"}, status=403)
    await api.ask(short, "PATCH", path, {"allowed_networks": []}, headers=seen, status=403)
    answer = await api.ask(short, "POST", f"{path}/change", headers=seen, status=403)
    assert answer.problem == "beyond-authority"
    assert (await api.get(ann, path))["version"] == 1


async def _verified(api: Api, operator: User, body: dict[str, Any]) -> Any:
    return (await api.ask(operator, "POST", "/api/smtp/verify", body, status=200)).json
