from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from keystile.config.model import Needs
from keystile.management.reference import Entry
from keystile.management.schema import Details, Room, details
from keystile.routing.plain import Plain, read_plain


def entry(said: dict[str, Any], root: dict[str, Any] | None = None, shared: list[Any] | None = None) -> Entry:
    return Entry("slug", "GET", "/a", Needs(), "api", said=said, shared=shared or [], root=root or {})


def read(said: dict[str, Any], schemas: dict[str, Any] | None = None, room: Room | None = None) -> Details:
    return details(entry(said, {"components": {"schemas": schemas or {}}}), room or Room())


def body_of(schema: Any, schemas: dict[str, Any] | None = None) -> Any:
    return read({"requestBody": {"content": {"application/json": {"schema": schema}}}}, schemas).body


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_parameters_stand_by_place_and_the_operation_s_own_replace_those_of_its_path() -> None:
    own = [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "format": "int32", "example": 5}},
        {"name": "id", "in": "path", "description": "own"},
    ]
    shared = [{"name": "id", "in": "path", "description": "shared"}, {"name": "X-T", "in": "header", "required": True}]
    found = details(entry({"parameters": own}, shared=shared), Room()).parameters

    assert [(one.name, one.place, one.required, one.kind, one.example) for one in found] == [
        ("id", "path", True, "any", ""),
        ("limit", "query", False, "integer (int32)", "5"),
        ("X-T", "header", True, "any", ""),
    ]
    assert found[0].description == "own"


def test_fields_are_listed_by_their_path_with_what_is_required() -> None:
    schemas = {
        "Mail": {"required": ["To"], "properties": {"To": ref("People"), "Body": ref("Body")}},
        "People": {"type": "array", "items": ref("Person")},
        "Person": {"properties": {"Email": {"type": "string", "description": "Where"}}},
        "Body": {"properties": {"Kind": {"type": "string", "enum": ["HTML", "Text"]}}},
    }
    found = body_of(ref("Mail"), schemas)

    assert found.kind == "Mail"
    assert [(one.name, one.required, one.kind) for one in found.fields] == [
        ("To", True, "array of Person"),
        ("To[].Email", False, "string"),
        ("Body", False, "Body"),
        ("Body.Kind", False, "string: HTML | Text"),
    ]
    assert found.fields[1].description == "Where"
    assert json.loads(found.example) == {"To": [{"Email": "string"}], "Body": {"Kind": "HTML"}}


def test_a_schema_that_holds_itself_is_shown_once() -> None:
    schemas = {"Node": {"properties": {"name": {"type": "string"}, "next": ref("Node")}}}
    found = body_of(ref("Node"), schemas)

    assert [one.name for one in found.fields] == ["name", "next"]
    assert json.loads(found.example) == {"name": "string", "next": None}


@pytest.mark.parametrize(
    "schemas",
    [
        {"A": {"$ref": "#/components/schemas/A"}},
        {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}},
        {"A": {"allOf": [{"$ref": "#/components/schemas/A"}]}},
        {"A": {"items": {"$ref": "#/components/schemas/A"}}},
        {"A": {"oneOf": [{"anyOf": [{"$ref": "#/components/schemas/A"}]}]}},
        {"A": {"$ref": "https://example.com/other.yaml#/A"}},
        {"A": {"$ref": "file:///etc/passwd"}},
        {"A": {"$ref": "#/components/schemas/A/properties/x"}},
    ],
)
def test_references_that_lead_nowhere_or_in_a_circle_end(schemas: dict[str, Any]) -> None:
    found = body_of(ref("A"), schemas)

    assert found.fields == ()
    assert "root:" not in repr(found)


def test_a_reference_is_followed_by_escaped_names() -> None:
    assert body_of({"$ref": "#/components/schemas/a~1b%20~0"}, {"a/b ~": {"type": "string"}}).example == '"string"'


def test_a_schema_that_would_grow_without_bound_is_left_off_early() -> None:
    lines = ["x0: &x0 {type: string}"]
    for n in range(1, 40):
        fields = ", ".join(f"f{m}: *x{n - 1}" for m in range(9))
        lines.append(f"x{n}: &x{n} {{allOf: [{', '.join([f'*x{n - 1}'] * 9)}], properties: {{{fields}}}}}")
    schema = read_plain("\n".join(lines).encode())["x39"]
    found = body_of(schema)

    assert len(found.fields) <= Room().rows
    assert found.more
    assert len(found.example) <= Room().example


def test_an_example_of_the_document_s_own_wins_and_may_not_grow_either() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    endless = read_plain("\n".join(lines).encode())["a29"]
    media: dict[str, Plain] = {"example": endless, "schema": {"type": "string"}}
    found = read({"requestBody": {"content": {"application/json": media}}}).body

    assert found is not None
    assert len(found.example) <= Room().example
    assert body_of({"example": {"A": 1}, "properties": {"B": {}}}).example == '{\n  "A": 1\n}'


def test_a_named_example_is_found() -> None:
    media = {"examples": {"one": {"value": {"A": 1}}}}
    found = read({"requestBody": {"content": {"application/json": media}}}).body

    assert found is not None
    assert json.loads(found.example) == {"A": 1}


def test_the_first_answer_with_a_body_shows_it() -> None:
    said = {
        "responses": {
            "204": {"description": "Nothing"},
            "200": {"description": "OK", "content": {"application/json": {"schema": {"type": "boolean"}}}},
            "400": {"description": "Bad", "content": {"application/json": {"schema": {"type": "string"}}}},
        }
    }
    found = read(said).answers

    assert [(one.status, one.description, one.body is not None) for one in found] == [
        ("204", "Nothing", False),
        ("200", "OK", True),
        ("400", "Bad", False),
    ]


def test_what_generators_write_for_want_of_a_description_is_left_out() -> None:
    [parameter] = read({"parameters": [{"name": "a", "in": "query", "description": "String"}]}).parameters

    assert parameter.description == ""


def test_with_less_room_there_is_less_of_everything_and_it_is_said() -> None:
    said = {
        "description": "d" * 99_999,
        "parameters": [{"name": f"p{n}", "in": "query", "description": "x" * 9999} for n in range(100)],
    }
    small = read(said, room=Room().less())

    assert len(small.parameters) == 10
    assert small.more
    assert max(len(one.description) for one in small.parameters) == 100
    assert len(small.description) == 2000


NAMES = (
    "$ref schema properties items allOf oneOf type enum example examples content parameters requestBody responses name "
    "in description required application/json a"
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("#/a") | st.just("#/"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=5)
    ),
    max_leaves=30,
)


@hypothesis(deadline=None)
@given(JUNK, JUNK)
def test_no_document_is_too_strange(said: Any, root: Any) -> None:
    wanted = {"parameters": said, "requestBody": said, "responses": said, "description": said}
    found = details(entry(wanted, {"a": root}, shared=[said]), Room())

    assert len(found.parameters) <= Room().rows
