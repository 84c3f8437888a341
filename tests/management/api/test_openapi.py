from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from keystile.management import api as package
from keystile.management.api.openapi import document, operations
from keystile.management.api.operation import Caller
from keystile.management.app import Sources, build
from keystile.management.health import Health
from tests.management.api.checked import Api, User, described

DOCUMENT = described()


def test_every_route_stands_in_the_document_and_every_operation_has_its_route() -> None:
    written = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert _routes_of_the_api() == written


def _routes_of_the_api() -> set[tuple[str, str]]:
    app = web.Application()
    app.add_routes(package.routes())
    return _routes(app)


def _routes(app: web.Application) -> set[tuple[str, str]]:
    """Those below /api; GET answers HEAD as well, which is no operation of its own."""
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api") and route.method != "HEAD"
    }


async def test_the_running_application_has_no_other_route_below_api(api: Api) -> None:
    async def nothing() -> tuple[()]:
        return ()

    async def well() -> Health:
        return Health()

    app = build(Sources(well, nothing), api.app.services)
    assert _routes(app) == _routes_of_the_api()


async def test_the_document_is_served_to_anybody_as_it_is(api: Api) -> None:
    assert await api.get(None, "/api/openapi.json") == json.loads(json.dumps(document(operations())))


def test_names_of_operations_are_unique_and_tell_what_they_do() -> None:
    names = [row.name for row in operations()]
    assert len(set(names)) == len(names)
    for row in operations():
        assert re.fullmatch("[a-z][A-Za-z]+", row.name)
        assert row.summary
        assert not row.summary.endswith(".")
        for success in row.answers.values():
            assert success.description.endswith(".")


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    text = json.dumps(DOCUMENT)
    for kind in ("schemas", "responses"):
        used = set(re.findall(rf'"#/components/{kind}/([^"]+)"', text))
        assert used == set(DOCUMENT["components"][kind])


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_exactly_the_answers_that_make_a_secret_show_one() -> None:
    """A member that holds a secret stands in the answers of creates and changes, and in no other."""
    secrets = {"key", "secret", "token", "link", "csrf"}
    showing = {
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for member, kind in schema.get("properties", {}).items()
        if member in secrets and "null" not in _types(kind)
    }
    bodies = {"VerifySmtp"}
    assert showing - bodies == {"NewKey", "NewSmtp", "NewToken", "NewAccount", "PasswordLink"}
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if any(f"schemas/{name}" in json.dumps(operation["responses"]) for name in showing - bodies):
                assert method == "post", path


def _types(kind: dict[str, Any]) -> set[str]:
    found = kind.get("type", [])
    types = {found} if isinstance(found, str) else set(found)
    return types.union(*(_types(each) for each in kind.get("anyOf", [])))


def test_every_operation_says_how_to_come_in_and_what_a_refusal_looks_like() -> None:
    for row in operations():
        operation = DOCUMENT["paths"][row.path][row.method.lower()]
        if row.caller is Caller.ANYBODY:
            assert operation["security"] == []
            continue
        assert {"token": []} in operation["security"]
        assert "401" in operation["responses"]
        if not row.is_safe and row.caller is not Caller.OPERATOR_TOKEN:
            assert {"session": [], "csrf": []} in operation["security"]
            assert "403" in operation["responses"]


async def test_what_has_been_made_links_to_what_can_be_done_with_it(api: Api, ann: User) -> None:
    made = await api.new_key(ann)
    links = DOCUMENT["paths"]["/api/keys"]["post"]["responses"]["201"]["links"]
    assert set(links) == {"getKey", "editKey", "changeKey", "deleteKey", "getKeyUsage"}
    rows = {row.name: row for row in operations()}
    for link in links.values():
        assert link["parameters"] == {"id": "$response.body#/id"}
        row = rows[link["operationId"]]
        if row.is_safe:
            await api.get(ann, row.path.replace("{id}", made["id"]))
