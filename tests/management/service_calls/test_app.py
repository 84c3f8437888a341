from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import Needs, Operation
from keystile.keys.key import SEND_SMTP, ApiKey
from keystile.management.service_calls.app import NEEDS
from keystile.storage.errors import StoreBusy
from tests.management.service_calls.conftest import Socket, opened
from tests.storage.ground import ANN, BY

By = tuple[ApiKey, str]
WANTED = {"Name": "ci", "AccessLevel": ["ViewContacts"]}


async def test_the_ten_calls_are_served_and_each_has_its_need(calls: Socket, manager: By) -> None:
    assert len(NEEDS) == 10
    assert NEEDS["smtp", "POST", False] == {"ModifyAccessTokens", SEND_SMTP}
    mail = {"Name": "a@example.com"}
    for kind, wanted in (("/apikeys", WANTED), ("/smtp", mail)):
        name = f"{kind}/{wanted['Name']}"
        status, made = await calls.ask(manager, "POST", kind, wanted)
        assert (status, len(made.pop("Token"))) == (201, 96)
        assert await calls.ask(manager, "GET", name) == (200, made)
        assert made in (await calls.ask(manager, "GET", kind))[1]
        assert await calls.ask(manager, "PUT", name, wanted) == (200, made)
        assert await calls.ask(manager, "DELETE", name) == (200, None)
        assert (await calls.ask(manager, "GET", name))[0] == 404


async def test_a_call_needs_its_scope_now_and_not_only_when_it_was_admitted(calls: Socket, manager: By) -> None:
    key = await calls.key("weak", "ViewAccessTokens", "ModifyAccessTokens")
    assert (await calls.ask(key, "POST", "/apikeys", {**WANTED, "AccessLevel": []}))[0] == 201
    await calls.keys.edit(ANN, "weak", scopes=["ViewAccessTokens"], **BY)
    assert (await calls.ask(key, "GET", "/apikeys"))[0] == 200
    status, said = await calls.ask(key, "DELETE", "/apikeys/ci")
    assert (status, said["Error"]) == (403, "This call needs ModifyAccessTokens, which the API key does not have.")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("GET", "", 404), ("GET", "/apikeys/a/b", 404), ("PATCH", "/apikeys", 405),
        ("POST", "/apikeys/a", 405), ("DELETE", "/apikeys", 405), ("GET", "/apikeys/%ff", 404),
        ("GET", "/apikeys/", 404), ("GET", "/../apikeys", 404),
    ],
)  # fmt: skip
async def test_nothing_else_is_served(calls: Socket, manager: By, method: str, path: str, status: int) -> None:
    got, said = await calls.ask(manager, method, path)
    assert (got, said["status"]) == (status, status)


async def test_nothing_is_served_without_the_prefix(calls: Socket, manager: By) -> None:
    for path in ("/apikeys", "/v4/other/apikeys", "/health", "/"):
        async with calls.client.get(path, headers=calls.fields(*manager)) as answer:
            assert answer.status == 404


async def test_head_is_answered_like_get(calls: Socket, manager: By) -> None:
    assert await calls.ask(manager, "HEAD", "/apikeys") == (200, None)


async def test_a_subaccount_is_never_taken_for_ones_own_account(calls: Socket, manager: By) -> None:
    await calls.ask(manager, "POST", "/apikeys", WANTED)
    for query in ("subaccount=a%40b.c", "SubAccount=x", "a=b&subaccount=&subaccount=y"):
        for method, path in (("DELETE", "/apikeys/ci"), ("GET", "/apikeys"), ("GET", "/smtp")):
            assert (await calls.ask(manager, method, f"{path}?{query}"))[0] == 400
    assert (await calls.ask(manager, "POST", "/apikeys", {**WANTED, "Name": "b", "Subaccount": "a@b.c"}))[0] == 400
    assert [key.name for key in await calls.keys.list(ANN)] == ["ci", "manager"]
    assert (await calls.ask(manager, "GET", "/apikeys?subaccount="))[0] == 200


async def test_a_body_that_is_too_large_is_refused(calls: Socket, manager: By) -> None:
    status, said = await calls.ask(manager, "POST", "/apikeys", b" " * 200_000)
    assert (status, said["type"]) == (413, "urn:keystile:problem:body-too-large")


async def test_the_largest_key_there_can_be_fits(calls: Socket) -> None:
    scopes = [f"{'S' * 190}{number}" for number in range(256 - 2)]
    key = await calls.key("big", "ViewAccessTokens", "ModifyAccessTokens", *scopes)
    networks = [f"2001:db8:ffff:ffff:ffff:ffff:ffff:{number:x}/128" for number in range(0x1000, 0x1100)]
    wanted = {"Name": "n" * 100, "AccessLevel": scopes, "RestrictAccessToIPRange": networks}
    assert (await calls.ask(key, "POST", "/apikeys", wanted))[0] == 201


async def test_a_name_that_another_row_would_catch_is_refused_when_it_is_given(tmp_path: Path) -> None:
    special = Operation(("GET",), "/v4/security/apikeys/special", Needs(), "api", "test", 0)
    below = Operation((), "/v4/security/apikeys/a/*", Needs(), "api", "test", 1)
    async with opened(tmp_path, special, below) as calls:
        manager = await calls.key("manager", "ModifyAccessTokens", "ViewContacts", "ViewAccessTokens")
        for name in ("special", "a/b", " .. ", "x\\y"):
            status, said = await calls.ask(manager, "POST", "/apikeys", {**WANTED, "Name": name})
            assert (status, said["type"]) == (400, "urn:keystile:problem:invalid"), name
            assert (await calls.ask(manager, "PUT", "/apikeys/manager", {**WANTED, "Name": name}))[0] == 400
        assert (await calls.ask(manager, "POST", "/apikeys", {**WANTED, "Name": "b/a"}))[0] == 201


async def test_a_name_is_found_however_it_is_escaped(calls: Socket, manager: By) -> None:
    await calls.keys.create(ANN, "a/b %2F é", **BY)
    for raw in ("a%2Fb%20%252F%20%C3%A9", "%61%2fb%20%252F%20%c3%a9", "a%2Fb%20%252F%20e%CC%81"):
        assert (await calls.ask(manager, "GET", f"/apikeys/{raw}"))[0] == 200
    assert (await calls.ask(manager, "GET", "/apikeys/a%252Fb"))[0] == 404


async def test_a_store_that_cannot_be_used_is_said_so(
    calls: Socket, manager: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: Any, **__: Any) -> None:
        raise StoreBusy("the store /secret/place is locked")

    monkeypatch.setattr(calls.store, "key_by_id", busy)
    status, said = await calls.ask(manager, "GET", "/apikeys")
    assert (status, said["type"]) == (503, "urn:keystile:problem:store-unavailable")
    assert "/secret/place" not in str(said)


async def test_a_fault_of_ours_is_logged_and_not_shown(
    calls: Socket, manager: By, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(calls.store, "key_by_id", broken)
    with caplog.at_level(logging.ERROR):
        status, said = await calls.ask(manager, "GET", "/apikeys")
    assert (status, said["Error"]) == (500, "The gateway failed. It has been logged.")
    assert "inside" not in str(said)
    assert "ZeroDivisionError" in caplog.text
