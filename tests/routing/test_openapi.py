from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import Cors, Needs, Operation
from keystile.routing.document import DocumentFault
from keystile.routing.openapi import read_operations
from keystile.routing.route import Route
from keystile.routing.table import RouteTable, rows
from tests.routing.rules import row

DATA = Path(__file__).parent.parent / "data"
DOCUMENT = (DATA / "elasticemail-openapi.yaml").read_bytes()
LEVEL = "Required Access Level: (.+)"


def read(text: bytes | str, **given: Any) -> tuple[list[Operation], list[DocumentFault]]:
    if not given.keys() & {"scope_from", "scope_from_description"}:
        given["scope_from"] = "x-scopes"
    text = text.encode() if isinstance(text, str) else text
    everything: dict[str, Any] = {"file": "api.yaml", "upstream": "api", "row": 3, **given}
    return read_operations(text, **everything)


def document(paths: str, version: str = "3.0.3", more: str = "") -> str:
    """A small document; ``paths`` is YAML in flow style on line 2."""
    return f"openapi: {version}\npaths: {paths}\n{more}\n"


def only_fault(text: bytes | str, **given: Any) -> DocumentFault:
    operations, [fault] = read(text, **given)
    assert operations == []
    return fault


def test_every_operation_of_the_real_document_needs_what_the_list_says() -> None:
    operations, faults = read(DOCUMENT, scope_from_description=LEVEL, prefix="/v4")
    assert faults == []
    with (DATA / "elasticemail-scopes.tsv").open(encoding="utf-8", newline="") as file:
        listed = [each for each in csv.DictReader(file, delimiter="\t") if each["source"].startswith("openapi.yaml")]
    levels = {
        (each["method"], "/v4" + each["path"]): sorted(
            level.strip() for level in each["access_levels"].split(",") if level != "None"
        )
        for each in listed
    }
    shown = {(each["method"], each["path"]): each["scopes"] for each in rows(RouteTable(operations))}
    assert shown == levels
    assert len(operations) == len(shown) == 112


def test_the_traps_of_the_real_document_are_known() -> None:
    operations, _ = read(DOCUMENT, scope_from_description=LEVEL, prefix="/v4")
    table = RouteTable(operations)

    def level(method: str, path: str) -> str:
        route = table.find(method.encode(), path.encode())
        return ",".join(sorted(route.needs.all_of)) if isinstance(route, Route) else route.kind

    assert level("PUT", "/v4/inboundroute/order") == "ViewSettings"
    assert level("PUT", "/v4/inboundroute/7") == "ModifySettings"
    assert table.find(b"GET", b"/v4/events/export").path == "/v4/events/{transactionid}"  # type: ignore[union-attr]
    assert level("GET", "/v4/lists/x/contacts") == "ViewContacts"
    assert level("POST", "/v4/lists/x/contacts") == "ModifyContacts"
    assert table.find(b"GET", b"/v4/emails/1/view").needs == Needs()  # type: ignore[union-attr]
    assert level("GET", "/v4/contacts/export%2Fx%2Fstatus") == "ambiguous"
    assert level("GET", "/v4/security/apikeys/a%2Fb") == "ViewAccessTokens"


def test_the_security_of_the_real_document_opens_nothing() -> None:
    operations, faults = read(DOCUMENT, scope_from="security")
    assert operations == []
    assert len(faults) == 112


def test_a_source_names_file_and_line() -> None:
    [operation], _ = read(document("{/a: {get: {x-scopes: A}}}"))
    assert operation.source == "api.yaml:2"
    assert operation == Operation(("GET",), "/a", Needs(all_of=frozenset({"A"})), "api", "api.yaml:2", 3)


def test_every_operation_carries_what_its_row_says() -> None:
    cors = Cors(("https://app.example",))
    given = {"prefix": "/v1/", "row": 5, "override": True, "cors": cors, "any_of": True, "upstream": "other"}
    operations, faults = read(document("{/a: {get: {x-scopes: [A, B]}, post: {x-scopes: None}}}"), **given)
    assert faults == []
    assert [(each.methods, each.path, each.needs) for each in operations] == [
        (("GET",), "/v1/a", Needs(any_of=frozenset({"A", "B"}))),
        (("POST",), "/v1/a", Needs()),
    ]
    assert {(each.row, each.override, each.cors, each.upstream) for each in operations} == {(5, True, cors, "other")}


def test_json_and_yaml_are_one() -> None:
    paths = {"/a/{x}": {"get": {"x-scopes": "A", "description": "😀"}, "parameters": [], "x-more": 1}, "x-note": 2}
    text = json.dumps({"openapi": "3.1.0", "paths": paths})
    operations, faults = read(text)
    assert faults == []
    assert [(each.path, each.source) for each in operations] == [("/a/{x}", "api.yaml")]


@pytest.mark.parametrize("version", ["3.0.0", "3.0.4", "3.1.1", "3.0", "'3.1'", "3.1.0-rc1"])
def test_versions_3_0_and_3_1_are_read(version: str) -> None:
    assert read(document("{/a: {get: {x-scopes: A}}}", version))[1] == []


@pytest.mark.parametrize("version", ["2.0", "3.2.0", "4", "3.10.0", "[]", "''"])
def test_other_versions_are_refused(version: str) -> None:
    assert "3.0 and 3.1" in only_fault(document("{/a: {get: {x-scopes: A}}}", version)).message


FAULTS = {
    "{/a: {$ref: 'b.yaml'}}": "by reference",
    "{/a: {<<: {get: {x-scopes: A}}}}": "merge key",
    "{/a: {GET: {x-scopes: A}}}": "lower case: get",
    "{/a: {trace: {x-scopes: A}}}": "TRACE",
    "{/a: {query: {x-scopes: A}}}": "not a method",
    "{/a: {get: {}}}": "no x-scopes",
    "{/a: {get: {x-scopes: []}}}": "not the name",
    "{/a: {get: [A]}}": "an operation is a mapping",
    "{/a: {get: null}}": "an operation is a mapping",
    "{/a: [get]}": "a mapping of methods",
    "{a: {get: {x-scopes: A}}}": "begins with a slash",
    "{/a/*: {get: {x-scopes: A}}}": "a *",
    "{'/a/{x}.json': {get: {x-scopes: A}}}": "whole segment",
    "{'/a?b=c': {get: {x-scopes: A}}}": "let in",
    "{/a//b: {get: {x-scopes: A}}}": "slashes",
    "{? [a, b] : {get: {x-scopes: A}}}": "begins with a slash",
    "[]": "mapping of paths",
    "null": "mapping of paths",
    "{}": "no operations",
    "{/a: {}}": "no operations",
    "{/a: {summary: x}}": "no operations",
}


@pytest.mark.parametrize("paths", FAULTS)
def test_what_cannot_be_read_for_certain_is_a_fault_with_its_line(paths: str) -> None:
    for prefix in ("", "/v4"):
        fault = only_fault(document(paths), prefix=prefix)
        assert FAULTS[paths] in fault.message
        assert fault.line == 2
        assert fault.path.startswith("paths")


TWICE = {
    "{/a: {get: {x-scopes: A}}, /a: {get: {x-scopes: B}}}": "paths./a",
    "{/a: {get: {x-scopes: A}, get: {x-scopes: B}}}": "paths./a.get",
    "{/a: {get: {x-scopes: A, x-scopes: B}}}": "paths./a.get.x-scopes",
}


@pytest.mark.parametrize("paths", TWICE)
def test_what_stands_twice_is_a_fault(paths: str) -> None:
    _, [fault] = read(document(paths))
    assert fault.path == TWICE[paths]
    assert "twice" in fault.message


def test_what_stands_twice_at_the_top_is_a_fault() -> None:
    _, [fault] = read(document("{/a: {get: {x-scopes: A}}}", more="security: []\nsecurity: [{key: [A]}]"))
    assert (fault.line, fault.path) == (4, "security")


def test_a_merge_key_in_an_operation_is_a_fault() -> None:
    _, [fault] = read(document("{/a: {get: {<<: {security: []}, x-scopes: A}}}"))
    assert fault.path == "paths./a.get.<<"


@pytest.mark.parametrize("text", ["[]", "a", "swagger: '2.0'\npaths: {}", "{}", "openapi_: 3.0.0"])
def test_something_else_is_no_openapi_document(text: str) -> None:
    assert "not an OpenAPI document" in only_fault(text).message


def test_an_unreadable_document_is_one_fault() -> None:
    assert "neither YAML nor JSON" in only_fault("a: [").message


def test_every_fault_is_told_and_the_rest_is_read() -> None:
    text = "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n    put: {x-scopes: A}\n  /b:\n    get: {operationId: loadB}\n"
    operations, faults = read(text)
    assert [each.methods for each in operations] == [("PUT",)]
    assert [(fault.line, fault.path, fault.value) for fault in faults] == [
        (4, "paths./a.get", ""),
        (7, "paths./b.get", "loadB"),
    ]


def test_a_row_above_settles_an_operation_that_cannot_be_read() -> None:
    text = document("{'/a/{x}': {get: {}, put: {}}, /b: {get: {security: []}}}")
    above = [row("/v1/a/{y}", None, "GET"), row("/v1/b", "*"), row("/v1/a//", "broken")]
    operations, faults = read(text, prefix="/v1", earlier=above)
    assert operations == []
    assert [fault.path for fault in faults] == ["paths./a/{x}.put"]


@pytest.mark.parametrize(
    "given",
    [
        {"scope_from": "scopes"},
        {"scope_from": ""},
        {"scope_from": None},
        {"scope_from": "security", "scope_from_description": "(.+)"},
    ],
)
def test_a_row_that_does_not_say_where_permissions_stand_is_a_fault(given: dict[str, str | None]) -> None:
    assert only_fault(document("{/a: {get: {x-scopes: A}}}"), **given).path == "scope_from"


def test_a_broken_expression_is_a_fault() -> None:
    fault = only_fault(document("{/a: {get: {description: A}}}"), scope_from_description="(")
    assert (fault.path, fault.value) == ("scope_from_description", "(")


def test_servers_are_not_looked_at() -> None:
    text = document(
        "{/a: {get: {x-scopes: A}, servers: [{url: /v8}]}}", more="servers: [{url: 'https://h.example/v9'}]"
    )
    assert [each.path for each in read(text)[0]] == ["/a"]


def test_time_stamps_and_aliases_in_examples_do_no_harm() -> None:
    more = "components: {examples: {a: &a {at: 2020-02-30T25:61:61, b: 0x_, c: .nan}, b: [*a, *a]}}"
    assert read(document("{/a: {get: {x-scopes: A, example: *b}}}".replace("*b", "2021-99-99"), more=more))[1] == []
