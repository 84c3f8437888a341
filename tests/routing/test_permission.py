from __future__ import annotations

import re

import pytest
from yaml.nodes import Node

from keystile.config.model import Needs
from keystile.routing.permission import NoPermission, from_description, from_extension, from_security
from tests.routing.test_document import root

LEVEL = re.compile("Required Access Level: (.+)")


def every(*scopes: str) -> Needs:
    return Needs(all_of=frozenset(scopes))


def either(*scopes: str) -> Needs:
    return Needs(any_of=frozenset(scopes))


def described(text: str) -> Node:
    return root(f"description: {text!r}")


def test_a_level_is_read_from_the_description() -> None:
    assert from_description(LEVEL, False)(described("Loads. Required Access Level: View")) == every("View")


def test_several_levels_are_all_needed_unless_the_row_says_any() -> None:
    node = described("Required Access Level: ViewContacts, ViewSuppressions")
    assert from_description(LEVEL, False)(node) == every("ViewContacts", "ViewSuppressions")
    assert from_description(LEVEL, True)(node) == either("ViewContacts", "ViewSuppressions")
    assert from_description(LEVEL, True)(described("Required Access Level: A")) == every("A")


def test_none_means_any_valid_key() -> None:
    assert from_description(LEVEL, False)(described("Required Access Level: None")) == Needs()
    assert not Needs().public


def test_a_pattern_without_a_group_gives_what_it_matches() -> None:
    assert from_description(re.compile(r"\w+(?= required)"), False)(described("View required")) == every("View")


@pytest.mark.parametrize(
    "text",
    [
        "description: Loads all.",
        "description: 'Required Access Level: '",
        "description: 'Required Access Level: View.More, or else'",
        "description: 'Required Access Level: View More'",
        "description: 'Required Access Level: View,'",
        "description: 'Required Access Level: None, View'",
        "description: |\n  Required Access Level: View\n  Required Access Level: Modify\n",
        "description: 7",
        "description: [a]",
        "summary: 'Required Access Level: View'",
        "{}",
    ],
)
def test_a_description_without_a_clear_level_gives_no_permission(text: str) -> None:
    with pytest.raises(NoPermission):
        from_description(LEVEL, False)(root(text))


def test_an_optional_group_that_is_empty_gives_no_permission() -> None:
    with pytest.raises(NoPermission):
        from_description(re.compile("Level(: View)?"), False)(described("Level"))


@pytest.mark.parametrize(
    ("value", "any_of", "needs"),
    [
        ("A", False, every("A")),
        ("'A, B'", False, every("A", "B")),
        ("[A, B]", False, every("A", "B")),
        ("[A, B]", True, either("A", "B")),
        ("['contacts:read', 'a/b.c_d-e']", False, every("contacts:read", "a/b.c_d-e")),
        ("None", False, Needs()),
        ("[None]", False, Needs()),
    ],
)
def test_an_extension_is_text_or_a_list(value: str, any_of: bool, needs: Needs) -> None:
    assert from_extension("x-scopes", any_of)(root(f"x-scopes: {value}")) == needs


@pytest.mark.parametrize(
    "value",
    ["null", "~", "''", "[]", "yes", "7", "[7]", "[A, null]", "{A: B}", "[[A]]", "['']", "['A B']", "[A, None]"],
)
def test_an_extension_that_names_no_scope_gives_no_permission(value: str) -> None:
    with pytest.raises(NoPermission):
        from_extension("x-scopes", False)(root(f"x-scopes: {value}"))
    with pytest.raises(NoPermission):
        from_extension("x-other", False)(root("x-scopes: A"))


@pytest.mark.parametrize(
    ("security", "any_of", "needs"),
    [
        ("[{oauth: [A]}]", False, every("A")),
        ("[{oauth: [A, B]}]", False, every("A", "B")),
        ("[{oauth: [A, B]}]", True, either("A", "B")),
        ("[{oauth: [A], key: []}]", False, every("A")),
        ("[{oauth: [A], key: [B]}]", False, every("A", "B")),
        ("[{oauth: [A]}, {key: [B]}]", False, either("A", "B")),
        ("[{oauth: [A, B]}, {key: [B, A]}]", False, every("A", "B")),
    ],
)
def test_security_requirements_are_read_as_the_specification_says(security: str, any_of: bool, needs: Needs) -> None:
    operation = root(f"security: {security}")
    assert from_security(root("{}"), any_of)(operation) == needs
    assert from_security(root(f"security: {security}"), any_of)(root("{}")) == needs
    assert from_security(root("security: [{key: [Other]}]"), any_of)(operation) == needs


@pytest.mark.parametrize(
    "security",
    [
        "[]", "[{}]", "[{key: []}]", "[{oauth: [A]}, {}]", "[{oauth: [A]}, {key: []}]",
        "[{oauth: [A, B]}, {key: [C]}]", "null", "{key: [A]}", "A", "[A]",
        "[{key: A}]", "[{key: null}]", "[{key: [7]}]", "[{key: ['A B']}]", "[{key: ['A,B']}]",
    ],
)  # fmt: skip
def test_security_that_names_no_clear_scope_gives_no_permission(security: str) -> None:
    for document, operation in (("{}", f"security: {security}"), (f"security: {security}", "{}")):
        with pytest.raises(NoPermission):
            from_security(root(document), False)(root(operation))


def test_no_security_at_all_gives_no_permission() -> None:
    with pytest.raises(NoPermission):
        from_security(root("{}"), False)(root("{}"))


def test_an_operation_that_opens_itself_is_told_how_to_say_so() -> None:
    with pytest.raises(NoPermission, match="public: true"):
        from_security(root("security: [{key: [A]}]"), False)(root("security: []"))
