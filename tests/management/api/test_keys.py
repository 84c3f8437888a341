from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from typing import Any

import pytest

from keystile.keys.secret import has_check_digits
from keystile.management.api.keys import OPERATIONS
from keystile.management.api.moments import written
from tests.management.api.checked import Api, User

FACTS: dict[str, Any] = {
    "scopes": ["ViewContacts", "Export"],
    "allowed_networks": ["10.0.0.0/8", "192.0.2.1-192.0.2.9"],
    "expires": "2999-12-31T18:00:00+02:00",
}


async def test_a_created_key_is_shown_once_with_all_it_was_given(api: Api, ann: User) -> None:
    answer = await api.ask(ann, "POST", "/api/keys", {"name": "main", **FACTS}, status=201)
    made = answer.json
    assert has_check_digits(made["key"].encode())
    assert (made["name"], made["hint"], made["account"]) == ("main", made["key"][-5:], "ann@example.com")
    assert (made["scopes"], made["allowed_networks"]) == (["Export", "ViewContacts"], FACTS["allowed_networks"])
    assert (made["expires"], made["state"], made["version"]) == ("2999-12-31T16:00:00Z", "active", 1)
    assert (answer.headers["Location"], answer.headers["ETag"]) == (f"/api/keys/{made['id']}", '"1"')
    found = await api.get(ann, answer.headers["Location"])
    assert "key" not in found
    assert found.items() <= made.items()


async def test_two_hundred_creates_at_once_make_fifteen_keys(api: Api, ann: User) -> None:
    async def create(number: int) -> int:
        return (await api.ask(ann, "POST", "/api/keys", {"name": f"key {number}"})).status

    statuses = Counter(await asyncio.gather(*(create(number) for number in range(200))))
    assert statuses == {201: 15, 409: 185}
    assert len((await api.get(ann, "/api/keys?limit=100"))["items"]) == 15


async def test_the_sixteenth_key_and_a_taken_name_are_conflicts_of_their_own_kind(api: Api, ann: User) -> None:
    for number in range(15):
        await api.new_key(ann, f"key {number}")
    answer = await api.ask(ann, "POST", "/api/keys", {"name": "one more"}, status=409)
    assert answer.problem == "limit-reached"
    first = (await api.get(ann, "/api/keys"))["items"][0]
    await api.ask(ann, "DELETE", f"/api/keys/{first['id']}", status=204)
    answer = await api.ask(ann, "POST", "/api/keys", {"name": "key 5"}, status=409)
    assert (answer.problem, answer.json["field"]) == ("name-taken", "name")


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"name": "a\u0007b"}, "name"),
        ({"name": "   "}, "name"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({}, "name"),
        ({"name": "k", "scopes": ["two words"]}, "scopes.0"),
        ({"name": "k", "scopes": "ViewContacts"}, "scopes"),
        ({"name": "k", "scopes": ["ViewContacts", 5]}, "scopes.1"),
        ({"name": "k", "scopes": None}, "scopes"),
        ({"name": "k", "scopes": ["a"] * 257}, "scopes"),
        ({"name": "k", "allowed_networks": ["10.0.0.5/8"]}, "allowed_networks"),
        ({"name": "k", "allowed_networks": ["example.com"]}, "allowed_networks"),
        ({"name": "k", "allowed_networks": None}, "allowed_networks"),
        ({"name": "k", "expires": "2001-01-01T00:00:00Z"}, "expires"),
        ({"name": "k", "expires": "2999-01-01"}, "expires"),
        ({"name": "k", "expires": "2999-01-01T00:00:00"}, "expires"),
        ({"name": "k", "expires": 32472144000}, "expires"),
        ({"name": "k", "expires": "9999-12-31T23:59:59-23:59"}, "expires"),
        ({"name": "k", "operator": True}, "operator"),
        ({"name": "k", "id": "0000000000000000"}, "id"),
        ({"name": "k", "account": "bob@example.com"}, "account"),
    ],
)
async def test_what_cannot_be_is_refused_and_the_member_named(
    api: Api, ann: User, facts: dict[str, Any], field: str
) -> None:
    answer = await api.ask(ann, "POST", "/api/keys", facts, status=422)
    assert (answer.problem, answer.json["field"]) == ("invalid", field)
    assert (await api.get(ann, "/api/keys"))["items"] == []


async def test_keys_come_by_name_in_pages_that_are_linked(api: Api, ann: User) -> None:
    for name in ("c", "a", "e", "b", "d"):
        await api.new_key(ann, name)
    path: str | None = "/api/keys?limit=2"
    pages = []
    while path:
        answer = await api.ask(ann, "GET", path, status=200)
        pages.append([key["name"] for key in answer.json["items"]])
        link = answer.headers.get("Link")
        path = link.partition(">")[0][1:] if link else None
        assert (path is None) == (answer.json["next"] is None)
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_page_goes_on_where_it_was_though_its_last_key_is_gone(api: Api, ann: User) -> None:
    made = {name: await api.new_key(ann, name) for name in ("a", "b", "c")}
    first = await api.get(ann, "/api/keys?limit=2")
    await api.ask(ann, "DELETE", f"/api/keys/{made['b']['id']}", status=204)
    rest = await api.get(ann, f"/api/keys?limit=2&cursor={first['next']}")
    assert [key["name"] for key in rest["items"]] == ["c"]


async def test_an_edit_replaces_what_it_names_and_leaves_the_rest(api: Api, ann: User) -> None:
    made = await api.new_key(ann, **FACTS)
    path, seen = f"/api/keys/{made['id']}", {"If-Match": '"1"'}
    patch = {"Content-Type": "application/merge-patch+json", **seen}
    answer = await api.ask(ann, "PATCH", path, {"scopes": ["Export"], "expires": None}, headers=patch, status=200)
    edited = answer.json
    assert (edited["scopes"], edited["expires"], edited["version"]) == (["Export"], None, 2)
    assert answer.headers["ETag"] == '"2"'
    assert (edited["name"], edited["allowed_networks"]) == ("main", made["allowed_networks"])
    assert "key" not in edited


async def test_an_edit_says_which_version_it_saw(api: Api, ann: User) -> None:
    path = f"/api/keys/{(await api.new_key(ann))['id']}"
    answer = await api.ask(ann, "PATCH", path, {"name": "x"}, status=428)
    assert answer.json["field"] == "If-Match"
    await api.ask(ann, "PATCH", path, {"name": "first"}, headers={"If-Match": '"1"'}, status=200)
    for stale in ('"1"', 'W/"2"', '"0", "1"', '""'):
        answer = await api.ask(ann, "PATCH", path, {"name": "second"}, headers={"If-Match": stale}, status=412)
        assert answer.problem == "stale"
    assert (await api.get(ann, path))["name"] == "first"
    await api.ask(ann, "PATCH", path, {"name": "third"}, headers={"If-Match": '"1", "2"'}, status=200)
    await api.ask(ann, "PATCH", path, {"name": "fourth"}, headers={"If-Match": "*"}, status=200)


async def test_of_two_edits_of_one_version_one_is_told_so(api: Api, ann: User) -> None:
    path = f"/api/keys/{(await api.new_key(ann))['id']}"

    async def edit(name: str) -> int:
        return (await api.ask(ann, "PATCH", path, {"name": name}, headers={"If-Match": '"1"'})).status

    assert sorted(await asyncio.gather(*map(edit, "abcde"))) == [200, 412, 412, 412, 412]
    assert (await api.get(ann, path))["version"] == 2


@pytest.mark.parametrize("patch", [{"name": None}, {"scopes": None}, {"allowed_networks": None}, {"hint": "ABCDE"}])
async def test_only_an_expiry_can_be_taken_away(api: Api, ann: User, patch: dict[str, Any]) -> None:
    path = f"/api/keys/{(await api.new_key(ann, **FACTS))['id']}"
    answer = await api.ask(ann, "PATCH", path, patch, headers={"If-Match": "*"}, status=422)
    assert answer.json["field"] == next(iter(patch))
    assert (await api.get(ann, path))["version"] == 1


async def test_a_change_gives_a_new_secret_and_leaves_all_else(api: Api, ann: User) -> None:
    made = await api.new_key(ann, **FACTS)
    path = f"/api/keys/{made['id']}/change"
    await api.ask(ann, "POST", path, status=428)
    answer = await api.ask(ann, "POST", path, {"overlap": 60}, headers={"If-Match": '"1"'}, status=200)
    changed = answer.json
    assert has_check_digits(changed["key"].encode())
    assert changed["key"] != made["key"]
    assert (changed["version"], answer.headers["ETag"]) == (2, '"2"')
    assert (changed["old_hint"], changed["hint"]) == (made["hint"], changed["key"][-5:])
    assert changed["old_until"] is not None
    for same in ("id", "name", "scopes", "allowed_networks", "expires", "created"):
        assert changed[same] == made[same]
    await api.ask(ann, "POST", path, headers={"If-Match": '"1"'}, status=412)
    at_once = await api.ask(ann, "POST", path, headers={"If-Match": '"2"'}, status=200)
    assert at_once.json["old_until"] is None


@pytest.mark.parametrize("overlap", [-1, 1e9, "60", None, True, [60]])
async def test_an_overlap_is_a_number_of_seconds_up_to_thirty_days(api: Api, ann: User, overlap: object) -> None:
    path = f"/api/keys/{(await api.new_key(ann))['id']}/change"
    answer = await api.ask(ann, "POST", path, {"overlap": overlap}, headers={"If-Match": "*"}, status=422)
    assert answer.json["field"] == "overlap"


async def test_a_deleted_key_is_gone(api: Api, ann: User) -> None:
    path = f"/api/keys/{(await api.new_key(ann))['id']}"
    await api.ask(ann, "DELETE", path, headers={"If-Match": '"7"'}, status=412)
    await api.ask(ann, "DELETE", path, headers={"If-Match": '"1"'}, status=204)
    for method in ("GET", "DELETE"):
        assert (await api.ask(ann, method, path, status=404)).problem == "not-found"
    second = await api.new_key(ann)
    await api.ask(ann, "DELETE", f"/api/keys/{second['id']}", status=204)


async def test_an_imported_key_shows_no_secret_and_its_digest_counts_once(api: Api, ann: User, bob: User) -> None:
    digest = hashlib.sha256(b"issued elsewhere").hexdigest()
    body = {"name": "old", "digest": digest, "hint": "where", **FACTS}
    answer = await api.ask(ann, "POST", "/api/keys/import", body, status=201)
    assert (answer.json["imported"], answer.json["hint"]) == (True, "where")
    assert digest not in answer.text
    for who in (ann, bob):
        again = await api.ask(who, "POST", "/api/keys/import", {**body, "name": "other"}, status=409)
        assert (again.problem, again.json["field"]) == ("conflict", "digest")
    for wrong in ({"digest": "ab"}, {"hint": "abcdef"}, {"hint": "a b c"}):
        refused = await api.ask(ann, "POST", "/api/keys/import", {**body, **wrong}, status=422)
        assert refused.json["field"] in wrong


async def test_a_warning_stands_beside_a_key_that_no_route_can_use(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.services.keys, "_known_scopes", frozenset({"Export"}))
    made = await api.new_key(ann, scopes=["Exprot", "Export"])
    assert made["warnings"] == ["no route uses the scope Exprot"]


async def test_a_token_that_ends_makes_and_alters_no_key_that_would_outlive_it(api: Api, ann: User) -> None:
    never = await api.new_key(ann, "never ends")
    now = api.app.services.clock()
    short = await api.token(ann.account, expires=now + 3600)
    later, sooner = "2999-01-01T00:00:00Z", written(now + 1800)
    for expires in (None, later):
        answer = await api.ask(short, "POST", "/api/keys", {"name": "k", "expires": expires}, status=403)
        assert (answer.problem, answer.json["field"]) == ("beyond-authority", "expires")
    digest = {"digest": "ab" * 32, "hint": "ABABA"}
    await api.ask(short, "POST", "/api/keys/import", {"name": "k", **digest}, status=403)
    path, seen = f"/api/keys/{never['id']}", {"If-Match": "*"}
    await api.ask(short, "PATCH", path, {"scopes": ["Export"]}, headers=seen, status=403)
    await api.ask(short, "POST", f"{path}/change", headers=seen, status=403)
    made = await api.new_key(short, "ends sooner", expires=sooner)
    for expires in (None, later):
        answer = await api.ask(
            short, "PATCH", f"/api/keys/{made['id']}", {"expires": expires}, headers=seen, status=403
        )
    await api.ask(short, "POST", f"/api/keys/{made['id']}/change", headers=seen, status=200)
    await api.ask(short, "DELETE", path, status=204)


def test_every_row_that_alters_a_key_reads_if_match() -> None:
    for row in OPERATIONS:
        assert (row.if_match is not None) == ("{id}" in row.path and not row.is_safe)
