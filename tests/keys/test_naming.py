from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.naming import email_address, key_name


@given(st.text(max_size=120))
def test_a_name_of_any_kind_is_refused_or_has_one_spelling(text: str) -> None:
    try:
        name = key_name(text)
    except ValueError:
        return
    assert key_name(name) == name
    assert 1 <= len(name) <= 100


@pytest.mark.parametrize("bad", ["", "   ", "x" * 101, "a\nb", "a\0b", "a\x7fb", "a\u2028b", "\ud800"])
def test_a_bad_name_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"name|control"):
        key_name(bad)


def test_names_that_look_equal_are_equal() -> None:
    assert key_name(" Café ") == key_name("Cafe\u0301")


@given(st.text(max_size=60))
def test_an_address_of_any_kind_is_refused_or_has_one_spelling(text: str) -> None:
    try:
        address = email_address(text)
    except ValueError:
        return
    assert email_address(address) == address
    assert address.isascii()


def test_an_address_is_found_in_whatever_case() -> None:
    assert email_address(" Ann@Example.ORG ") == email_address("ann@example.org") == "ann@example.org"


@pytest.mark.parametrize(
    "bad", ["", "ann", "@x.org", "ann@", "a b@x.org", "a@x..org", "a@-x.org", "ä@x.org", "a@x.org\n@", "a@" + "x" * 260]
)
def test_a_bad_address_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not an e-mail address"):
        email_address(bad)
