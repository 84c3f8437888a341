from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.management.api.moments import moment, written, written_or_null


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01t00:00:01z", 1.0),
        ("1970-01-01T02:00:00+02:00", 0.0),
        ("1969-12-31T23:30:00-00:30", 0.0),
        ("1970-01-01T00:00:00.5Z", 0.5),
        ("1970-01-01T00:00:00.123456789Z", 0.123456),
    ],
)
def test_a_moment_is_read_with_its_zone(text: str, at: float) -> None:
    assert moment(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-12-31",
        "2026-12-31T00:00:00",
        "2026-12-31T00:00Z",
        "2026-12-31 00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-12-31T24:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-12-31T00:00:00+25:00",
        "20261231T000000Z",
        "2026-W53-4T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "٢٠٢٦-12-31T00:00:00Z",
        "2026-12-31T00:00:00Z\n",
        " 2026-12-31T00:00:00Z",
        "1798675200",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment(text)


@given(st.integers(0, 253402300799))
def test_what_is_written_is_read_again(at: int) -> None:
    assert moment(written(at)) == at


@given(st.text())
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(moment(text), float)


def test_never_stays_null() -> None:
    assert written_or_null(None) is None
    assert written_or_null(0) == "1970-01-01T00:00:00Z"
