from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keystile.storage.doorbell import Doorbell, doorbell_of
from keystile.storage.errors import StoreBusy

RING = """
import sys
from pathlib import Path
from keystile.storage.doorbell import Doorbell
bell = Doorbell(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    with bell.locked(60):
        bell.ring()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keystile.db"


@pytest.fixture
def bell(path: Path) -> Iterator[Doorbell]:
    bell = Doorbell(path)
    yield bell
    bell.close()


def test_a_bell_is_eight_bytes_beside_the_store_for_its_owner_alone(bell: Doorbell, path: Path) -> None:
    found = doorbell_of(path).stat()
    assert doorbell_of(path).name == "keystile.db.doorbell"
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (8, 0o600)
    assert doorbell_of(path).read_bytes() == bell.count().to_bytes(8, "little")


def test_every_process_hears_a_ring(bell: Doorbell, path: Path) -> None:
    other = Doorbell(path)
    before = other.count()
    with bell.locked():
        bell.ring()
    assert other.count() == other.words[0] == before + 1
    other.close()


def test_a_bell_that_is_opened_again_keeps_its_count(bell: Doorbell, path: Path) -> None:
    with bell.locked():
        bell.ring()
    other = Doorbell(path)
    assert other.count() == bell.count()
    other.close()


def test_rings_of_two_writers_at_once_are_all_counted(bell: Doorbell, path: Path) -> None:
    before = bell.count()
    writers = [subprocess.Popen([sys.executable, "-c", RING, str(path), "300"]) for _ in range(3)]
    assert [writer.wait(90) for writer in writers] == [0, 0, 0]
    assert bell.count() == before + 900


def test_rings_of_threads_that_share_a_bell_are_all_counted(bell: Doorbell) -> None:
    def work() -> None:
        for _ in range(50):
            with bell.locked():
                bell.ring()

    before = bell.count()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bell.count() == before + 200


async def test_the_lock_is_one_for_tasks_and_processes(bell: Doorbell, path: Path) -> None:
    other = Doorbell(path)
    async with bell.locked_async():
        for waiting in (bell, other):
            with pytest.raises(StoreBusy, match="another process has been changing keys"):
                async with waiting.locked_async(0.02):
                    pass
            with pytest.raises(StoreBusy), waiting.locked(0.02):
                pass
    with other.locked(0.02):
        pass
    other.close()


async def test_waiting_for_the_lock_leaves_the_loop_free_and_can_be_cancelled(bell: Doorbell) -> None:
    async def wait() -> None:
        async with bell.locked_async():
            pass

    async with bell.locked_async():
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.02)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with bell.locked_async(0.02):
        pass


def test_a_truncated_bell_never_shows_a_count_that_was_seen(bell: Doorbell, path: Path) -> None:
    seen = bell.count()
    os.truncate(doorbell_of(path), 0)
    assert bell.count() != seen
    assert bell.replaced()
    with bell.locked():
        bell.ring()
    assert not bell.replaced()
    assert bell.count() != seen
    assert doorbell_of(path).stat().st_size == 8


def test_a_bell_cut_in_half_is_made_whole(bell: Doorbell, path: Path) -> None:
    os.truncate(doorbell_of(path), 4)
    assert bell.replaced()
    bell.reopen()
    assert not bell.replaced()
    assert doorbell_of(path).stat().st_size == 8


def test_a_writer_goes_over_to_the_bell_that_lies_there_now(bell: Doorbell, path: Path) -> None:
    listening = Doorbell(path)
    seen = listening.count()
    doorbell_of(path).unlink()
    assert listening.replaced()
    with bell.locked():
        assert listening.count() != seen  # who still has the old one hears that something is to be looked at
        bell.ring()
    assert not bell.replaced()
    listening.reopen()
    assert listening.count() == bell.count()
    listening.close()


def test_a_bell_replaced_under_the_lock_rings_in_both_places(bell: Doorbell, path: Path) -> None:
    old, seen = Doorbell(path), bell.count()
    with bell.locked():
        doorbell_of(path).unlink()
        new = Doorbell(path)
        seen_new = new.count()
        bell.ring()
    assert old.count() != seen
    assert new.count() != seen_new
    old.close()
    new.close()


def test_a_store_has_one_bell_by_whatever_name_it_is_called(bell: Doorbell, path: Path, tmp_path: Path) -> None:
    path.touch()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    assert doorbell_of(link) == doorbell_of(path)


def test_a_bell_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Doorbell(tmp_path / "missing" / "keystile.db")
    doorbell_of(tmp_path / "other.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        Doorbell(tmp_path / "other.db")


def test_on_a_read_only_file_system_one_can_still_listen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Doorbell(path)) as bell, bell.locked():
        real = os.open

        def read_only(name: Path, flags: int, *mode: int) -> int:
            if flags & (os.O_RDWR | os.O_CREAT):
                raise OSError(errno.EROFS, "Read-only file system")
            return real(name, flags, *mode)

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", read_only)
            with closing(Doorbell(path)) as listener:
                assert listener.count() == bell.count()
                with pytest.raises(OSError, match="Bad file descriptor"):
                    listener.ring()
            with pytest.raises(FileNotFoundError):
                Doorbell(path.with_name("other.db"))
