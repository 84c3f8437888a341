from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from keystile.management.api.paging import cursor_of, next_link, page, place_of
from keystile.management.api.problems import ApiProblem, Problem
from tests.management.api.checked import refusal


@given(st.sets(st.text(min_size=1, max_size=5), max_size=30), st.integers(1, 10))
def test_all_pages_together_are_the_list(names: set[str], limit: int) -> None:
    items, cursor = sorted(names), None
    seen: list[str] = []
    while True:
        shown, cursor = page(items, str, limit, cursor)
        assert len(shown) <= limit
        seen += shown
        if cursor is None:
            break
    assert seen == items


@given(st.text())
def test_a_cursor_holds_any_name(name: str) -> None:
    assert place_of(cursor_of(name), str) == name


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    refused = refusal(lambda: place_of(text, str))
    assert refused is None or (refused.problem, refused.field) == (Problem.MALFORMED, "cursor")


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!!", "bnVsbA", cursor_of("a"), cursor_of(5) + "=", "W1tbW1tbW1s", "ü", "dHJ1ZQ"]
)
def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(ApiProblem):
        place_of(cursor, int)


def test_the_link_to_the_next_page_keeps_what_was_asked_and_names_no_host() -> None:
    request = make_mocked_request("GET", "/api/keys?limit=2&account=a%2Bb%40example.com", headers={"Host": "evil"})
    link = next_link(request, "abc")["Link"]
    assert link == '</api/keys?limit=2&account=a%2Bb%40example.com&cursor=abc>; rel="next"'
    assert next_link(request, None) == {}
