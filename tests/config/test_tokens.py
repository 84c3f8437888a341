from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config import tokens
from keystile.keys.scopes import normalise


@pytest.mark.parametrize("name", ["X-Api-Key", "Authorization", "X-ElasticEmail-ApiKey", "X-Auth-Token", "x_key"])
def test_a_field_may_carry_keys(name: str) -> None:
    assert tokens.key_field(name) == name


@pytest.mark.parametrize(
    "name", ["Host", "content_length", "X-Forwarded-For", "X-Keystile-Key", "Connection", "Cookie", "Transfer-Encoding"]
)
def test_a_field_with_another_meaning_cannot_carry_keys(name: str) -> None:
    with pytest.raises(ValueError, match="cannot carry keys"):
        tokens.key_field(name)


@pytest.mark.parametrize("value", ["X Key", "X-Key:", "é", "", 5, None, "a" * 101])
def test_what_is_no_field_name_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not the name of a field|is no text|is empty"):
        tokens.field_name(value)


def test_two_spellings_of_one_field_are_the_same() -> None:
    assert tokens.same_field("X_Api-KEY") == tokens.same_field("x-api-key")


def test_a_query_parameter_may_be_off() -> None:
    assert tokens.query_parameter(None) is None
    assert tokens.query_parameter("apikey") == "apikey"


@pytest.mark.parametrize("value", ["a b", "a=b", "a&b", "a%20", 5])
def test_what_is_no_query_parameter_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not the name of a query parameter|is no text"):
        tokens.query_parameter(value)


@given(st.text(max_size=210) | st.text('abAB:/.-_,"\\ ~!', max_size=6))
def test_a_scope_is_one_here_exactly_if_it_is_one_of_keys(text: str) -> None:
    try:
        tokens.scope(text)
    except ValueError:
        ours = False
    else:
        ours = True
    try:
        # What surrounds a name is cut off there, and told here.
        theirs = bool(normalise([text])) and text == text.strip()
    except ValueError:
        theirs = False
    assert ours == theirs


def test_several_scopes_in_one_text_are_refused_with_how_to_write_them() -> None:
    with pytest.raises(ValueError, match=r"scopes: \{all: \[A, B\]\}"):
        tokens.scope("ViewFiles, Export")


@pytest.mark.parametrize(
    ("value", "said"),
    [("get", "write GET"), ("Delte", "write DELETE"), ("*", "such as GET"), ("TRACE", "never"), ("CONNECT", "never")],
)
def test_a_method_that_is_none_is_refused_with_the_nearest(value: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tokens.method(value)


def test_methods_of_extensions_are_methods() -> None:
    assert [tokens.method(name) for name in ("GET", "PROPFIND", "M-SEARCH")] == ["GET", "PROPFIND", "M-SEARCH"]


@pytest.mark.parametrize("value", ["a b", "-a", "", "a" * 65, 5])
def test_what_is_no_name_of_an_upstream_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a name for an upstream|is no text|is empty"):
        tokens.upstream_name(value)


@pytest.mark.parametrize("value", [None, "security", "x-required-scopes"])
def test_a_source_of_scopes(value: str | None) -> None:
    assert tokens.scope_source(value) == value


def test_another_source_of_scopes_is_refused() -> None:
    with pytest.raises(ValueError, match="neither security nor"):
        tokens.scope_source("description")


def test_a_pattern_has_exactly_one_group() -> None:
    assert tokens.description_pattern("Level: (.+)") == "Level: (.+)"
    for wrong in ("Level: .+", "(a)(b)"):
        with pytest.raises(ValueError, match="exactly one group"):
            tokens.description_pattern(wrong)


@pytest.mark.parametrize("wrong", ["(", "[", "a{99999999999999999999}", "(?P<a", "*"])
def test_what_is_no_pattern_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        tokens.description_pattern(wrong)


@given(st.text("()[]{}\\*+?|^$a1-&~,<>!=:P", max_size=15))
def test_a_pattern_is_read_or_refused_without_a_warning(text: str) -> None:
    try:
        tokens.description_pattern(text)
    except ValueError as error:
        said = str(error)
    else:
        said = "taken"
    assert said


@pytest.mark.parametrize("value", ["token", "*token*", "*pin", "sig*", "*", "a.b-c_d~e"])
def test_a_redacted_parameter(value: str) -> None:
    assert tokens.redacted_parameter(value) == value


@pytest.mark.parametrize("value", ["", "a*b", "**", "***", "a b", "a=b", "a&b", 5, None])
def test_what_is_no_redacted_parameter(value: object) -> None:
    with pytest.raises(ValueError, match="write"):
        tokens.redacted_parameter(value)
