from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.api.query import ACCOUNT, HOURS, PAGING, read_query
from tests.management.api.checked import refusal

ALL = (*PAGING, ACCOUNT, HOURS)


def _read(query: str) -> dict[str, object]:
    return read_query(make_mocked_request("GET", f"/api/keys{query}"), ALL)


def test_what_is_absent_has_its_default() -> None:
    assert _read("") == {"limit": 50, "cursor": None, "account": None, "hours": 168}


def test_an_address_is_read_in_its_one_spelling() -> None:
    assert _read("?account=Ann%40Example.COM&limit=1")["account"] == "ann@example.com"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=%2B5", "limit"),
        ("?limit=5_0", "limit"),
        ("?limit=%D9%A5", "limit"),
        ("?limit=", "limit"),
        ("?limit=1e1", "limit"),
        ("?limit=" + "9" * 5000, "limit"),
        ("?limit=1&limit=1", "limit"),
        ("?Limit=1", "Limit"),
        ("?account=", "account"),
        ("?account=a%00b%40example.com", "account"),
        ("?offset=1", "offset"),
        ("?=1", ""),
    ],
)
def test_what_cannot_be_read_is_refused_and_named(query: str, field: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        _read(query)
    assert (refused.value.problem, refused.value.field) == (Problem.MALFORMED, field)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_any_query_is_read_or_refused(query: dict[str, str]) -> None:
    try:
        path = str(URL("/api/keys").with_query(query))
    except (ValueError, UnicodeError):
        return
    refused = refusal(lambda: read_query(make_mocked_request("GET", path), ALL))
    assert refused is None or refused.problem is Problem.MALFORMED
