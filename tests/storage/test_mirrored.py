from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keystile.keys.keyring import Keyring
from keystile.storage.confirmed import Confirmed, confirmed_of
from keystile.storage.doorbell import Doorbell
from keystile.storage.mirrored import STALE, MirrorFollower
from tests.storage.ground import ANN, BY, Clock, admits, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mirror.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def secret(path: Path) -> str:
    async with writing(path) as service:
        secret = (await service.create(ANN, "main", **BY)).secret
    fill(path)
    return secret


def fill(path: Path) -> None:
    """As management does when it has taken in something."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('source', '[]')")
        connection.commit()


@pytest.fixture
def follower(path: Path, clock: Clock, secret: str) -> Iterator[MirrorFollower]:
    Confirmed(path, clock, clock).note()
    follower = MirrorFollower(path, Keyring(), clock, clock)
    follower.load()
    yield follower
    follower.close()


def test_what_is_confirmed_is_trusted_and_what_is_not_counts_from_its_last_confirmation(
    path: Path, follower: MirrorFollower, clock: Clock, secret: str
) -> None:
    follower.check()
    assert not follower.unreadable_since
    clock.now += STALE + 1
    follower.check()
    assert follower.unreadable_since == 1000.0
    assert "it was last heard from 4 s ago" in str(follower.unreadable_because)
    assert admits(follower, secret)  # whether it is still trusted is the relay's to say
    Confirmed(path, clock, clock).note()
    follower.check()
    assert not follower.unreadable_because
    assert not follower.unreadable_since


def test_a_relay_that_starts_meanwhile_counts_from_the_same_moment(path: Path, clock: Clock, secret: str) -> None:
    Confirmed(path, clock, clock).note()
    clock.now += 600.0
    late = MirrorFollower(path, Keyring(), clock, clock)
    late.load()
    assert late.unreadable_since == 1000.0
    late.close()


def test_what_was_never_confirmed_is_trusted_by_nobody(path: Path, follower: MirrorFollower, clock: Clock) -> None:
    confirmed_of(path).unlink()
    follower.check()
    assert follower.unreadable_since is not None
    assert clock() - follower.unreadable_since > 1e300
    assert "never" in str(follower.unreadable_because)


async def test_a_change_is_taken_in_though_nothing_is_confirmed(
    path: Path, follower: MirrorFollower, clock: Clock, secret: str
) -> None:
    clock.now += 60.0
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM keys")
        connection.commit()
    with closing(Doorbell(path)) as bell, bell.locked():
        bell.ring()
    assert not admits(follower, secret)


async def test_a_file_that_was_made_anew_and_is_not_filled_yet_takes_no_key_away(
    path: Path, follower: MirrorFollower, tmp_path: Path, secret: str
) -> None:
    spare = tmp_path / "spare.db"
    async with writing(spare):
        pass
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.replace(spare, path)
    follower.check()
    assert "nothing of the database has been kept in it yet" in str(follower.unreadable_because)
    assert admits(follower, secret)
    fill(path)
    follower.check()
    assert not admits(follower, secret)  # now it says so
