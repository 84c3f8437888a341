from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keystile.keys.keyring import Keyring
from keystile.storage.errors import StoreUnreadable
from keystile.storage.follow import KeyFollower
from keystile.storage.postgresql import mirror as module
from keystile.storage.postgresql.changes import KeptKey, News, Place
from keystile.storage.postgresql.mirror import DoesNotFit, Mirror
from tests.storage.ground import ANN, BY, writing

KEY = KeptKey("k", "a", ANN, "main", "A B", "", None, 1.0, 1, b"1" * 32, "00001", False, None, None, None, None)
FIRST, SECOND = Place("store", 5, 50), Place("store", 6, 60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keystile-mirror.db"


@pytest.fixture
def mirror(path: Path) -> Iterator[Mirror]:
    mirror = Mirror.open(path)
    yield mirror
    mirror.close()


@pytest.fixture
def follower(path: Path, mirror: Mirror) -> Iterator[KeyFollower]:
    follower = KeyFollower(path, Keyring())
    follower.load()
    yield follower
    follower.close()


def held(follower: KeyFollower) -> set[bytes]:
    if not follower.current():
        assert follower.catch_up()
    return set(follower._keyring._by_digest) | set(follower._keyring._overlaps)


def whole(place: Place, *keys: KeptKey) -> News:
    return News(place, True, (), keys, 0.0)


def partly(place: Place, changed: tuple[str, ...], *keys: KeptKey) -> News:
    return News(place, False, changed, keys, 0.0)


def test_it_is_for_its_owner_alone_and_holds_nothing_at_first(mirror: Mirror, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert mirror.place() is None


def test_relays_hear_at_once_what_it_has_taken_in(mirror: Mirror, follower: KeyFollower) -> None:
    old = KEY._replace(old_digest=b"0" * 32, old_hint="00000", old_imported=False, old_until=5e9)
    assert mirror.take(None, whole(FIRST, old, KEY._replace(id="l", name="other", digest=b"2" * 32)))
    assert held(follower) == {b"0" * 32, b"1" * 32, b"2" * 32}
    assert mirror.take(FIRST, partly(SECOND, ("k", "l"), KEY._replace(digest=b"3" * 32)))
    assert held(follower) == {b"3" * 32}
    assert mirror.place() == SECOND


def test_it_is_never_made_older(mirror: Mirror, follower: KeyFollower) -> None:
    """One who was slow has read that the key is good; meanwhile it has been revoked."""
    mirror.take(None, whole(FIRST, KEY))
    assert mirror.take(FIRST, partly(SECOND, ("k",)))
    assert not mirror.take(FIRST, partly(Place("store", 6, 61), ("k",), KEY))
    assert not mirror.take(None, whole(FIRST, KEY))
    assert held(follower) == set()


def test_nothing_new_rings_nobody(mirror: Mirror) -> None:
    mirror.take(None, whole(FIRST, KEY))
    rung = mirror.bell.count()
    assert mirror.take(FIRST, partly(FIRST, ()))
    assert mirror.take(FIRST, partly(FIRST, ()), ring=True)  # it has rung for it
    assert mirror.bell.count() == rung


def test_what_another_process_has_taken_in_is_rung_for_where_that_is_asked(path: Path, mirror: Mirror) -> None:
    mirror.take(None, whole(FIRST, KEY))
    with closing(Mirror.open(path)) as another:
        rung = another.bell.count()
        assert not another.has_told(5, 50)
        another.take(FIRST, partly(FIRST, ()), ring=True)
        assert another.bell.count() != rung
        assert another.has_told(5, 50)
        assert not another.has_told(6, 60)


def test_an_address_may_go_over_to_another_account(mirror: Mirror, follower: KeyFollower) -> None:
    bob = KEY._replace(id="l", account_id="b", email="bob@x.org", digest=b"2" * 32)
    mirror.take(None, whole(FIRST, KEY, bob))
    swapped = (KEY._replace(email="bob@x.org"), bob._replace(email=ANN))
    assert mirror.take(FIRST, partly(SECOND, ("k", "l"), *swapped))
    assert held(follower) == {b"1" * 32, b"2" * 32}
    kept = follower._keyring.get("k")
    assert kept is not None
    assert kept.account == "bob@x.org"
    # Deleted and made again: another account of the same address.
    again = KEY._replace(id="m", account_id="c", email=ANN, digest=b"3" * 32)
    assert mirror.take(SECOND, partly(Place("store", 7, 70), ("l", "m"), again))
    assert held(follower) == {b"1" * 32, b"3" * 32}


def test_all_of_what_it_takes_in_counts_or_nothing(mirror: Mirror, follower: KeyFollower) -> None:
    mirror.take(None, whole(FIRST, KEY))
    with pytest.raises(DoesNotFit):
        mirror.take(FIRST, whole(SECOND, KEY._replace(id="l"), KEY._replace(id="m")))
    assert mirror.place() == FIRST
    assert held(follower) == {b"1" * 32}


def test_its_log_is_bounded_and_no_relay_misses_anything_by_that(
    mirror: Mirror, follower: KeyFollower, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_LOG", 10)
    mirror.take(None, whole(FIRST))
    known = FIRST
    for number in range(30):
        here = Place("store", 6 + number, number)
        mirror.take(known, partly(here, ("k",), KEY._replace(digest=bytes([number]) * 32)))
        known = here
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM changes").fetchone() == (10,)
    assert held(follower) == {bytes([29]) * 32}


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\0" * 5000])
def test_a_damaged_one_is_made_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with closing(Mirror.open(path)) as mirror:
        assert mirror.place() is None
        mirror.take(None, whole(FIRST, KEY))


def test_one_that_is_damaged_inside_is_made_anew(path: Path) -> None:
    with closing(Mirror.open(path)) as mirror:
        many = (KEY._replace(id=str(n), name=str(n), digest=bytes([n]) * 32) for n in range(200))
        mirror.take(None, whole(FIRST, *many))
    size = path.stat().st_size
    fd = os.open(path, os.O_WRONLY)
    for page in range(2, size // 4096):
        os.pwrite(fd, b"\xaa" * 2000, page * 4096)
    os.close(fd)
    with closing(Mirror.open(path)) as mirror:
        assert mirror.place() is None


async def test_a_store_of_its_own_is_never_taken_for_one(path: Path) -> None:
    async with writing(path) as service:
        await service.create(ANN, "main", **BY)
    with pytest.raises(StoreUnreadable, match="it is a store of its own"):
        Mirror.open(path)
    async with writing(path) as service:
        assert len(await service.list()) == 1
