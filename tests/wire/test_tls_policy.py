"""The floor on both sides of every edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire.tls_policy import (
    Announcement,
    Legacy,
    Policy,
    Rehearsal,
    Version,
    announcement,
    floor,
    is_retired,
    next_change,
)

DAY = 1_800_000_000.0
OLD, NEW = Version.TLS_1_0, Version.TLS_1_2
POLICY = Policy(NEW, Legacy(OLD, DAY, (Rehearsal(DAY - 500, DAY - 400), Rehearsal(DAY - 450, DAY - 300))))


@pytest.mark.parametrize(
    ("moment", "lowest"),
    [(-501, OLD), (-500, NEW), (-425, NEW), (-301, NEW), (-300, OLD), (-0.001, OLD), (0, NEW), (1e9, NEW)],
)
def test_the_floor_rises_at_the_edge_and_not_before(moment: float, lowest: Version) -> None:
    assert floor(POLICY, DAY + moment) is lowest


@pytest.mark.parametrize(("moment", "change"), [(-900, -500), (-500, -300), (-301, -300), (-300, 0), (0, None)])
def test_the_next_change_is_known(moment: float, change: float | None) -> None:
    assert next_change(POLICY, DAY + moment) == (None if change is None else DAY + change)


@given(st.floats(DAY - 1000, DAY + 1000), st.floats(0, 1))
def test_the_floor_stays_until_the_next_change(now: float, part: float) -> None:
    change = next_change(POLICY, now)
    later = now + part * ((DAY + 9000 if change is None else change) - now)
    if change is None or later < change:
        assert floor(POLICY, later) is floor(POLICY, now)
    if change is not None:
        assert floor(POLICY, change) is not floor(POLICY, now)


def test_without_a_legacy_part_nothing_changes() -> None:
    assert (floor(Policy(), 0), next_change(Policy(), 0), announcement(Policy(), 0)) == (NEW, None, None)
    assert is_retired(Policy(), 0)


def test_retirement_is_for_good_and_a_rehearsal_is_not() -> None:
    assert [is_retired(POLICY, DAY + each) for each in (-450, -1, 0)] == [False, False, True]


def test_what_is_announced_ends_at_the_date() -> None:
    expected = Announcement("@1800000000", "Fri, 15 Jan 2027 08:00:00 GMT")
    assert announcement(POLICY, DAY - 1) == expected
    assert announcement(POLICY, DAY) is None
    since = Policy(NEW, Legacy(OLD, DAY, (), DAY - 9))
    assert announcement(since, DAY - 1) == Announcement("@1799999991", expected.sunset)


def test_versions_follow_one_another() -> None:
    assert [str(each) for each in sorted(Version)][2:] == ["1.0", "1.1", "1.2", "1.3"]
    assert Version.of("TLSv1") is Version.of("1.0") < Version.of("TLSv1.1") < Version.of("1.2") < Version.of("TLSv1.3")
    with pytest.raises(KeyError):
        Version.of("1.4")
    assert POLICY.is_legacy(Version.TLS_1_1)
    assert not POLICY.is_legacy(Version.TLS_1_2)


@pytest.mark.parametrize(
    ("minimum", "legacy"), [("1.1", None), ("1.2", "1.2"), ("1.3", "1.1"), ("1.2", "1.3")]
)
def test_a_policy_that_would_weaken_newer_clients_is_none(minimum: str, legacy: str | None) -> None:
    with pytest.raises(ValueError, match="version"):
        Policy(Version.of(minimum), Legacy(Version.of(legacy), DAY) if legacy else None)


def test_an_empty_rehearsal_is_an_error() -> None:
    with pytest.raises(ValueError, match="rehearsal"):
        Rehearsal(DAY, DAY)
