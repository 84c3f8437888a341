from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.scopes import as_text, from_text, normalise

NAMES = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",\\'], min_size=1, max_size=9)


@given(st.frozensets(NAMES))
def test_a_set_of_scopes_survives_being_written(scopes: frozenset[str]) -> None:
    assert from_text(as_text(normalise(scopes))) == scopes


@given(st.text(max_size=20))
def test_any_text_is_one_scope_or_refused(text: str) -> None:
    try:
        (name,) = normalise([text])
    except ValueError:
        return
    assert from_text(as_text(frozenset({name}))) == {name}


@pytest.mark.parametrize("bad", ["", " ", "two words", "a,b", 'a"b', "a\\b", "a\r\nb", "ä", "x" * 201])
def test_what_cannot_be_a_scope_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a scope"):
        normalise(["ViewContacts", bad])


def test_scopes_of_openapi_documents_are_scopes() -> None:
    assert normalise(["write:pets", "https://example.org/auth/mail.read", " ViewContacts "]) == {
        "write:pets",
        "https://example.org/auth/mail.read",
        "ViewContacts",
    }


def test_equal_sets_have_equal_texts() -> None:
    assert as_text(frozenset({"b", "a"})) == as_text(frozenset({"a", "b"})) == "a b"
