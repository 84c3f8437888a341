from __future__ import annotations

import pytest

from keystile.management import catalogue as known
from tests.management.api.checked import Api, User

NOTE = known.OperationNote("GET", "/v4/contacts", "Load contacts", "load-contacts")
AREA = known.Area("Contacts", (known.ScopeInfo("ViewContacts", "view", "See contacts.", (NOTE,)),))


async def test_permissions_are_told_by_area_with_presets(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = api.app.services.catalogue
    monkeypatch.setattr(catalogue, "areas", (AREA,))
    monkeypatch.setattr(catalogue, "full", ("ModifyContacts", "ViewContacts"))
    monkeypatch.setattr(catalogue, "view_only", ("ViewContacts",))
    monkeypatch.setattr(catalogue, "_read", True)
    told = await api.get(ann, "/api/scopes")
    assert told["presets"] == {"full": ["ModifyContacts", "ViewContacts"], "view": ["ViewContacts"]}
    (area,) = told["areas"]
    (scope,) = area["scopes"]
    assert (area["name"], scope["name"], scope["verb"]) == ("Contacts", "ViewContacts", "view")
    assert scope["operations"] == [{"method": "GET", "path": "/v4/contacts", "title": "Load contacts"}]


async def test_every_permission_of_the_presets_stands_in_an_area(api: Api, ann: User) -> None:
    told = await api.get(ann, "/api/scopes")
    names = {scope["name"] for area in told["areas"] for scope in area["scopes"]}
    assert set(told["presets"]["full"]) == names
    assert set(told["presets"]["view"]) <= names


async def test_texts_are_checked_as_networks_one_by_one(api: Api, ann: User) -> None:
    body = {"allowed_networks": ["192.0.2.1-192.0.2.9", "::ffff:10.0.0.1", "10.0.0.5/8", "", "example.com"]}
    told = (await api.ask(ann, "POST", "/api/networks/check", body, status=200)).json
    assert [each["network"] for each in told["networks"]] == ["192.0.2.1-192.0.2.9", "10.0.0.1", None, None, None]
    assert "10.0.0.0/8 would be right" in told["networks"][2]["trouble"]
    assert (told["your_address"], told["allows_your_address"]) == ("127.0.0.1", None)


@pytest.mark.parametrize(
    ("networks", "allows"), [([], True), (["127.0.0.0/8"], True), (["10.0.0.0/8"], False), (["::1"], False)]
)
async def test_whoever_types_learns_whether_they_would_lock_themselves_out(
    api: Api, ann: User, networks: list[str], allows: bool
) -> None:
    body = {"allowed_networks": networks}
    told = (await api.ask(ann, "POST", "/api/networks/check", body, status=200)).json
    assert told["allows_your_address"] is allows


@pytest.mark.parametrize("networks", [None, "10.0.0.1", [5], ["x"] * 257, ["x" * 101]])
async def test_a_list_of_texts_is_expected(api: Api, ann: User, networks: object) -> None:
    answer = await api.ask(ann, "POST", "/api/networks/check", {"allowed_networks": networks}, status=422)
    assert answer.json["field"].startswith("allowed_networks")
