from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from keystile.routing.plain import mapping, read_plain, sequence, words

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=15,
)


@hypothesis(deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_what_was_written_as_json_or_yaml_is_read_back(value: dict[str, Any]) -> None:
    assert read_plain(json.dumps(value).encode()) == value
    assert read_plain(yaml.safe_dump(value, allow_unicode=True).encode()) == value


def test_times_octal_numbers_and_infinities_stay_text() -> None:
    text = b"{when: 2024-01-01, mode: 0o17, old: 017, all: .inf, big: 123456789012345678901234567890, one: 1.5}"

    assert read_plain(text) == {
        "when": "2024-01-01",
        "mode": "0o17",
        "old": "017",
        "all": ".inf",
        "big": "123456789012345678901234567890",
        "one": 1.5,
    }


def test_an_alias_is_the_same_object_so_that_a_small_text_does_not_grow() -> None:
    lines = ["a0: &a0 [x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    found = read_plain("\n".join(lines).encode())

    a29 = sequence(found["a29"])
    assert a29[0] is a29[9]


def test_a_document_may_hold_itself() -> None:
    found = read_plain(b"a: &a {again: *a}")

    assert mapping(found["a"])["again"] is found["a"]


def test_of_two_values_the_first_counts_as_where_permissions_are_read() -> None:
    assert read_plain(b"a: 1\na: 2") == {"a": 1}


def test_what_is_no_document_is_an_empty_one() -> None:
    for text in (b"", b"- 1", b"\xff", b"a: [", b"[" * 500):
        assert read_plain(text) == {}


def test_other_values_are_taken_for_empty_ones() -> None:
    assert mapping([1]) == mapping(None) == {}
    assert sequence({"a": 1}) == sequence("x") == []
    assert (words(" x "), words(1), words(None)) == ("x", "", "")
