from __future__ import annotations

import stat
from math import inf
from pathlib import Path

import pytest

from keystile.storage.confirmed import Confirmed, confirmed_of
from tests.storage.ground import Clock

HERE, ELSEWHERE = b"h" * 16, b"e" * 16


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
def steady() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, wall: Clock, steady: Clock) -> Confirmed:
    return Confirmed(tmp_path / "mirror.db", wall, steady, HERE)


def test_what_was_never_confirmed_is_infinitely_old(kept: Confirmed) -> None:
    assert kept.age() == inf


def test_it_is_as_old_as_the_steady_clock_says(kept: Confirmed, wall: Clock, steady: Clock, tmp_path: Path) -> None:
    kept.note(0.5)
    wall.now -= 500.0  # somebody has set it back, or on: within one boot it does not count
    steady.now += 2.0
    assert kept.age() == Confirmed(tmp_path / "mirror.db", wall, steady, HERE).age() == 2.5
    kept.note()
    assert kept.age() == 0.0
    assert stat.S_IMODE(confirmed_of(tmp_path / "mirror.db").stat().st_mode) == 0o600


def test_after_another_boot_the_wall_clock_tells_and_one_that_went_back_tells_nothing(
    kept: Confirmed, wall: Clock, tmp_path: Path
) -> None:
    kept.note()
    begun_anew = Clock()
    begun_anew.now = 3.0
    after = Confirmed(tmp_path / "mirror.db", wall, begun_anew, ELSEWHERE)
    wall.now += 40.0
    assert after.age() == 40.0
    wall.now -= 41.0
    assert after.age() == inf


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 36, b"x" * 100])
def test_damaged_bytes_confirm_nothing(kept: Confirmed, tmp_path: Path, damage: bytes) -> None:
    kept.note()
    confirmed_of(tmp_path / "mirror.db").write_bytes(damage)
    assert kept.age() == inf
