from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config import moments


def test_a_day_begins_at_midnight_utc() -> None:
    assert moments.day("1970-01-02") == 86400.0
    assert moments.shown(moments.day("2027-03-31")) == "2027-03-31 00:00 UTC"


@pytest.mark.parametrize(
    "text", ["1970-01-01T01:00Z", "1970-01-01 01:00:00Z", "1970-01-01T02:00+01:00", "1969-12-31t23:00 -02:00"]
)
def test_a_moment_has_its_zone(text: str) -> None:
    assert moments.moment(text) == 3600.0


def test_a_moment_without_a_zone_is_told_so() -> None:
    with pytest.raises(ValueError, match="lacks its zone"):
        moments.moment("2027-03-01T09:00")


@pytest.mark.parametrize("value", ["2027-02-30", "2027-3-1", "", None, 20270301, "2027-03-01T09:00Z", "0000-01-01"])
def test_what_is_no_day_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match="such as 2027-03-31"):
        moments.day(value)


@pytest.mark.parametrize("value", ["2027-03-01", "2027-03-01T25:00Z", "now", None, 1.0, "0001-01-01T00:00+23:00"])
def test_what_is_no_moment_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match="such as 2027-03-01T09:00Z"):
        moments.moment(value)


@given(st.text(max_size=30))
def test_whatever_is_written_is_a_number_or_a_fault(text: str) -> None:
    for read in (moments.day, moments.moment):
        with suppress(ValueError):
            assert isinstance(read(text), float)
