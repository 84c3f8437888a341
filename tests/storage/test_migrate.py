from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from keystile.keys.keyring import Keyring
from keystile.storage.errors import StoreMismatch, StoreUnreadable
from keystile.storage.follow import KeyFollower
from keystile.storage.migrate import (
    PASSWORDS,
    STORE,
    Series,
    check,
    look_at,
    make_file,
    must_let_go_on,
    oldest_for,
    prepare,
    statements,
)
from tests.storage.ground import ANN, BY, admits, writing
from tests.unprivileged import folder_of_a_user, unprivileged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keystile.db"
    make_file(path)
    return path


def pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_directory_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable, match="its directory does not exist"):
        make_file(tmp_path / "missing" / "keystile.db")


OTHERS_COMMAND = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
connection.close()
"""


def test_who_makes_sure_that_the_file_is_there_takes_no_lock_from_who_has_it_open(path: Path) -> None:
    """A close takes all locks of its process on a file away (fcntl(2)); then another process may believe that it is
    alone, and remove what was written (https://www.sqlite.org/howtocorrupt.html, 2.2). Found by ``make chaos``.
    """
    prepare(path, STORE, nullcontext())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE mine (x)")
        make_file(path)
        subprocess.run([sys.executable, "-c", OTHERS_COMMAND, path], check=True)
        assert path.with_name("keystile.db-wal").exists()
        connection.execute("INSERT INTO mine VALUES (1)")
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT x FROM mine").fetchall() == [(1,)]


def test_a_link_to_nothing_yet_is_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    make_file(tmp_path / "link.db")
    assert stat.S_IMODE((tmp_path / "target.db").stat().st_mode) == 0o600


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable, match="Is a directory"):
        make_file(tmp_path)


def test_a_file_of_somebody_else_is_said_so() -> None:
    with folder_of_a_user() as folder:
        path = folder / "keystile.db"
        make_file(path)
        path.chmod(0o666)
        with unprivileged():
            make_file(path)  # it is there, and may be written
            path.chmod(0o444)
            with pytest.raises(StoreUnreadable, match="Permission denied"):
                make_file(path)


@pytest.mark.parametrize("series", [STORE, PASSWORDS])
def test_a_new_file_comes_to_the_newest_schema_and_to_wal(path: Path, series: Series) -> None:
    prepare(path, series, nullcontext())
    assert pragma(path, "user_version") == max(series.scripts())
    assert pragma(path, "application_id") == series.application_id
    assert pragma(path, "journal_mode") == "wal"


def test_the_numbers_of_the_migrations_have_no_gap() -> None:
    for series in (STORE, PASSWORDS):
        assert list(series.scripts()) == list(range(1, len(series.scripts()) + 1))


def test_a_file_that_is_ready_is_left_alone(path: Path) -> None:
    class Never(nullcontext[None]):
        def __enter__(self) -> None:
            raise AssertionError("there was nothing to lock for")

    prepare(path, STORE, nullcontext())
    prepare(path, STORE, Never())


def test_two_who_start_at_once_do_it_once(path: Path) -> None:
    lock, faults = threading.Lock(), list[BaseException]()

    def start() -> None:
        try:
            prepare(path, STORE, lock)
        except BaseException as fault:  # noqa: BLE001 (told below)
            faults.append(fault)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert pragma(path, "user_version") == max(STORE.scripts())


def test_a_migration_that_fails_leaves_nothing_of_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Series, "scripts", lambda self: {1: "CREATE TABLE a (x);\n", 2: "CREATE TABLE b (x);\nbad;\n"})
    with pytest.raises(StoreUnreadable, match="syntax error"):
        prepare(path, STORE, nullcontext())
    assert pragma(path, "user_version") == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("a",)]


def test_a_store_that_is_being_made_meanwhile_is_not_taken_for_something_else(path: Path) -> None:
    """Another process makes the store between any two steps of our looking at it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as looking, closing(sqlite3.connect(path)) as making:
        looking.execute("PRAGMA journal_mode = WAL")
        steps: list[str] = []

        def make(step: str) -> None:
            steps.append(step)
            if len(steps) == 2:
                making.execute("CREATE TABLE keys (id)")
                making.execute(f"PRAGMA application_id = {STORE.application_id}")
                making.execute("PRAGMA user_version = 1")
                making.commit()

        looking.set_trace_callback(make)
        assert check(looking, path, STORE) in (0, 1)


def test_a_database_of_something_else_is_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnreadable, match="something else"):
        prepare(path, STORE, nullcontext())
    assert path.read_bytes() == before


def test_a_store_and_its_passwords_are_not_taken_for_each_other(path: Path) -> None:
    prepare(path, PASSWORDS, nullcontext())
    with pytest.raises(StoreUnreadable, match="something else"):
        prepare(path, STORE, nullcontext())


def test_a_store_of_a_newer_version_is_not_touched(path: Path) -> None:
    prepare(path, STORE, nullcontext())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE schema_rule")
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreUnreadable, match="newer Keystile: schema 999"):
        prepare(path, STORE, nullcontext())


SCRIPTS = {series: series.scripts() for series in (STORE, PASSWORDS)}
ADDS = "-- For programs that know schema {} or later.\nCREATE TABLE more{} (x);\n"


@contextmanager
def knowing(more: dict[int, str]) -> Iterator[None]:
    """A newer program, which knows these scripts of the store as well."""
    with pytest.MonkeyPatch.context() as patched:
        found = {STORE: SCRIPTS[STORE] | more, PASSWORDS: SCRIPTS[PASSWORDS]}
        patched.setattr(Series, "scripts", lambda series: found[series])
        yield


def test_the_first_line_of_a_script_says_for_which_programs_it_is_and_nothing_means_its_own_number() -> None:
    assert oldest_for(7, ADDS.format(5, 7)) == 5
    assert oldest_for(7, "-- Adds.\n" + ADDS.format(5, 7)) == 7
    assert oldest_for(7, "CREATE TABLE a (x);\n") == 7


@pytest.mark.parametrize("series", [STORE, PASSWORDS])
def test_scripts_from_here_on_say_for_whom_they_are(series: Series) -> None:
    """Those before the rule are for nobody older; whatever comes decides, and says so."""
    before = {STORE: 5, PASSWORDS: 2}[series]
    assert all(script.startswith("-- For programs") for number, script in SCRIPTS[series].items() if number > before)


def test_a_file_that_a_newer_program_has_brought_up_is_for_older_ones_as_its_scripts_say(path: Path) -> None:
    prepare(path, STORE, nullcontext())
    ours = max(SCRIPTS[STORE])
    with knowing({ours + 1: ADDS.format(ours, 1)}):
        prepare(path, STORE, nullcontext())
    assert look_at(path, STORE) == ours + 1
    prepare(path, STORE, nullcontext())  # an older program starts, and leaves it as it is
    assert look_at(path, STORE) == ours + 1
    with knowing({ours + 1: ADDS.format(ours, 1), ours + 2: "CREATE TABLE two (x);\n"}):
        prepare(path, STORE, nullcontext())
    with pytest.raises(StoreMismatch, match=f"newer Keystile: schema {ours + 2}; known: {ours}"):
        prepare(path, STORE, nullcontext())
    with knowing({**dict.fromkeys((ours + 1, ours + 2), ""), ours + 3: ADDS.format(ours, 3)}):
        prepare(path, STORE, nullcontext())
    said = f"newer Keystile: schema {ours + 3}, for programs that know {ours + 2} or later; known: {ours}"
    with pytest.raises(StoreMismatch, match=said):
        look_at(path, STORE)


async def test_a_relay_of_an_older_program_hears_of_deleted_keys_when_the_newer_one_has_brought_the_store_up(
    path: Path,
) -> None:
    """As in ``keystile upgrade``: old relays finish requests, and keep connections, for minutes after it."""
    ours = max(SCRIPTS[STORE])
    async with writing(path) as service:
        kept, deleted = [(await service.create(ANN, name, **BY)).secret for name in ("kept", "deleted")]
        follower = KeyFollower(path, Keyring(), lambda: 1000.0, lambda: 1000.0)
        follower.load()
    with knowing({ours + 1: ADDS.format(ours, 1)}):
        async with writing(path) as service:
            await service.delete(ANN, "deleted", **BY)
    follower._disconnect()  # as at the next checkpoint
    assert follower.catch_up()
    assert admits(follower, kept)
    assert not admits(follower, deleted)
    with knowing({ours + 1: "", ours + 2: ""}):
        prepare(path, STORE, follower._bell.locked())
    follower._disconnect()
    assert not follower.catch_up()
    assert "of a newer Keystile" in str(follower.unreadable_because)
    follower.close()


def test_an_upgrade_is_refused_where_what_runs_could_not_go_on_with_what_it_would_leave(path: Path) -> None:
    ours = max(SCRIPTS[STORE])
    must_let_go_on(path.with_name("none.db"), STORE)
    must_let_go_on(path, STORE)  # empty: nobody has it open
    prepare(path, STORE, nullcontext())
    must_let_go_on(path, STORE)
    with knowing({ours + 1: ADDS.format(ours, 1)}):
        must_let_go_on(path, STORE)
    why = f"schema {ours + 1} is not for what runs, which knows {ours}; stop it, then start"
    with knowing({ours + 1: ""}), pytest.raises(StoreMismatch, match=why):
        must_let_go_on(path, STORE)
    assert look_at(path, STORE) == ours


def test_a_file_that_is_no_database_is_said_so(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be asked" * 100)
    with pytest.raises(StoreUnreadable, match="not a database"):
        prepare(path, STORE, nullcontext())


def test_a_script_is_cut_at_the_ends_of_its_statements() -> None:
    script = """
-- a; comment;
CREATE TABLE a (x);
CREATE TRIGGER t AFTER INSERT ON a BEGIN
    DELETE FROM a; -- all
END;
-- the end
"""
    assert [text.strip().splitlines()[-1] for text in statements(script)] == ["CREATE TABLE a (x);", "END;"]


def test_on_a_read_only_file_system_a_file_that_is_there_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(tmp_path / "there.db")

    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    make_file(tmp_path / "there.db")
    with pytest.raises(StoreUnreadable, match="Read-only file system"):
        make_file(tmp_path / "not.db")


def test_a_look_changes_nothing_and_tells_an_older_store_from_a_newer_one(path: Path) -> None:
    assert look_at(path.with_name("none.db"), STORE) == 0
    assert not path.with_name("none.db").exists()
    prepare(path, STORE, nullcontext())
    newest = max(STORE.scripts())
    for version in (newest, newest - 1):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        assert look_at(path, STORE) == version
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE schema_rule")
        connection.execute(f"PRAGMA user_version = {newest + 1}")
    with pytest.raises(StoreUnreadable, match="of a newer Keystile"):
        look_at(path, STORE)
