from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from keystile.keys.service import KeyService
from keystile.storage import backup
from keystile.storage.backup import BackupRefused, back_up
from keystile.storage.doorbell import Doorbell
from keystile.storage.errors import StoreBusy, StoreUnreadable
from keystile.storage.passwords import Passwords
from keystile.storage.sqlite import SqliteStore
from tests.storage.ground import ANN, BY, start_writer

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with an account, its password and three keys."""
    (tmp_path / "live").mkdir()
    path = tmp_path / "live" / "keystile.db"
    async with await SqliteStore.open(path) as store:
        passwords = await Passwords.open(path, CHEAP)
        service = KeyService(store)
        account = await service.create_account(ANN, **BY)
        await passwords.set_password(account.id, PASSWORD)
        for number in range(3):
            await service.create(ANN, f"k{number}", **BY)
        await passwords.close()
    return path


async def content(path: Path) -> list[object]:
    """All that a store holds, and whether its password is right."""
    async with await SqliteStore.open(path) as store:
        passwords = await Passwords.open(path, CHEAP)
        [account] = await store.accounts()
        found = [account, await store.keys(), await store.events(), await passwords.verify(account.id, PASSWORD)]
        await passwords.close()
    return found


@pytest.mark.parametrize("into", ["", "nightly.db"])
async def test_a_copy_holds_everything_and_is_for_its_owner_alone(path: Path, tmp_path: Path, into: str) -> None:
    (tmp_path / "copies").mkdir()
    made = back_up(path, tmp_path / "copies" / into)
    assert (made.store.name, made.accounts, made.keys) == (into or "keystile.db", 1, 3)
    names = sorted(os.listdir(made.store.parent))
    assert names == sorted((made.store.name, made.passwords.name))  # nothing unfinished, no -wal
    assert {stat.S_IMODE(file.stat().st_mode) for file in (made.store, made.passwords)} == {0o600}
    assert made.size == sum(file.stat().st_size for file in (made.store, made.passwords))
    assert await content(made.store) == await content(path)


async def test_nothing_that_is_there_is_overwritten_unless_asked(path: Path, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "keystile-passwords.db").write_text("mine")
    with pytest.raises(BackupRefused, match=r"keystile-passwords\.db is there already"):
        back_up(path, tmp_path / "copies")
    assert os.listdir(tmp_path / "copies") == ["keystile-passwords.db"]
    (tmp_path / "copies" / "keystile.db-wal").write_text("of another")
    back_up(path, tmp_path / "copies", force=True)
    assert await content(tmp_path / "copies" / "keystile.db") == await content(path)


@pytest.mark.parametrize("into", [".", "keystile.db", "linked.db"])
async def test_the_store_itself_is_never_overwritten(path: Path, into: str) -> None:
    path.with_name("linked.db").symlink_to(path)
    with pytest.raises(BackupRefused, match="is what is to be copied"):
        back_up(path, path.parent / into, force=True)
    assert len(await content(path)) == 4


async def test_changes_go_on_while_it_is_copied_and_are_not_in_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is given back before the copying begins, and what is copied is what was there at that moment."""
    before = await content(path)

    def write_first(connection: sqlite3.Connection, copy: Path) -> None:
        if copy.name == "copy.db":
            with start_writer(path, "create", "more", "5") as writer:
                assert writer.communicate(timeout=60)[0] == "5\n"
        write(connection, copy)

    write = backup._write
    monkeypatch.setattr(backup, "_write", write_first)
    made = await asyncio.to_thread(back_up, path, tmp_path / "copy.db")
    assert await content(made.store) == before
    assert len((await content(path))[1]) == 8  # type: ignore[arg-type]


async def test_accounts_and_passwords_are_of_one_moment(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the lock may be about to make an account: no copy begins meanwhile."""
    monkeypatch.setattr(backup, "LOCK_TIMEOUT", 0.05)
    with closing(Doorbell(path)) as bell, bell.locked():
        with pytest.raises(StoreBusy):
            back_up(path, tmp_path / "copy.db")
        assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("when", ["_write", "_examined", "_to_disk"])
async def test_killed_in_the_middle_it_leaves_nothing_under_its_name(path: Path, tmp_path: Path, when: str) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from keystile.storage import backup\n"
        f"backup.{when} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    copies = tmp_path / "copies"
    copies.mkdir()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), str(copies))
    assert await process.wait() == -signal.SIGKILL
    assert os.listdir(copies) == [".keystile.db.unfinished"]
    back_up(path, copies)
    assert sorted(os.listdir(copies)) == ["keystile-passwords.db", "keystile.db"]


async def test_whenever_it_is_killed_what_has_its_name_is_whole(path: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from keystile.storage.backup import back_up\n"
        "print(flush=True)\nwhile True: back_up(Path(sys.argv[1]), Path(sys.argv[2]), force=True)"
    )
    for number in range(3):
        _run_and_kill([sys.executable, "-c", code, str(path), str(tmp_path / "copy.db")], 0.02 * number + 0.01)
        if (tmp_path / "copy.db").exists():
            with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    back_up(path, tmp_path / "copy.db", force=True)
    assert await content(tmp_path / "copy.db") == await content(path)


def _run_and_kill(command: list[str], after: float) -> None:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.kill()


async def test_a_damaged_store_is_no_backup(path: Path, tmp_path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreUnreadable):
        back_up(path, tmp_path / "copy.db")
    assert os.listdir(tmp_path) == ["live"]


async def test_what_is_missing_or_foreign_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable, match=r"nowhere"):
        back_up(path, tmp_path / "nowhere" / "copy.db")
    path.with_name("keystile-passwords.db").unlink()
    with pytest.raises(StoreUnreadable, match=r"keystile-passwords\.db: No such file"):
        back_up(path, tmp_path / "copy.db")
    with pytest.raises(StoreUnreadable, match=r"other\.db: No such file"):
        back_up(path.with_name("other.db"), tmp_path / "copy.db")
    assert os.listdir(tmp_path) == ["live"]


async def test_two_backups_to_one_place_do_not_mix(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / ".copy.db.unfinished"
    with backup._workshop(tmp_path / "copy.db") as mine:
        assert mine == folder
        with pytest.raises(BackupRefused, match="another backup"):
            back_up(path, tmp_path / "copy.db")
    folder.mkdir(mode=0o777)
    os.chmod(folder, 0o777)
    with pytest.raises(BackupRefused, match="open to others"):
        back_up(path, tmp_path / "copy.db")
