from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.api.versions import etag, seen_version
from tests.management.api.checked import refusal


def _seen(*values: str, current: int = 3, needed: bool = True) -> int | None:
    headers = CIMultiDict([("If-Match", value) for value in values])
    return seen_version(make_mocked_request("PATCH", "/", headers=headers), current, needed=needed)


@pytest.mark.parametrize(
    "values", [('"3"',), (' "3" ',), ('"1", "3"',), ('"1","2" ,\t"3"',), ('"1"', '"3"'), ('W/"1", "3"',)]
)
def test_the_version_that_was_seen_is_the_one_to_compare(values: tuple[str, ...]) -> None:
    assert _seen(*values) == 3


def test_a_star_means_any() -> None:
    assert _seen("*") is None


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ((), Problem.IF_MATCH_NEEDED),
        (('"2"',), Problem.STALE),
        (('"03"',), Problem.STALE),
        (('W/"3"',), Problem.STALE),
        (('""',), Problem.STALE),
        (("3",), Problem.MALFORMED),
        (("",), Problem.MALFORMED),
        (('"3',), Problem.MALFORMED),
        (('"3";',), Problem.MALFORMED),
        (('w/"3"',), Problem.MALFORMED),
        (('*, "3"',), Problem.MALFORMED),
        (("*", "*"), Problem.MALFORMED),
        (('"1" "3"',), Problem.MALFORMED),
        (('"' + "x" * 2000 + '"',), Problem.MALFORMED),
    ],
)
def test_anything_else_is_refused(values: tuple[str, ...], problem: Problem) -> None:
    with pytest.raises(ApiProblem) as refused:
        _seen(*values)
    assert (refused.value.problem, refused.value.field) == (problem, "If-Match")


def test_where_it_is_not_needed_it_may_be_left_out() -> None:
    assert _seen(needed=False) is None
    with pytest.raises(ApiProblem):
        _seen('"2"', needed=False)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_an_etag_matches_its_version_and_no_other(version: int, other: int) -> None:
    tag = etag(version)["ETag"]
    if version == other:
        assert _seen(tag, current=other) == version
    else:
        with pytest.raises(ApiProblem):
            _seen(tag, current=other)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_text_is_an_if_match_or_refused(text: str) -> None:
    refused = refusal(lambda: _seen(text))
    assert refused is None or refused.problem in (Problem.STALE, Problem.MALFORMED)
