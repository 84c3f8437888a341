from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest

from keystile.storage.errors import StoreUnreadable
from keystile.storage.setup_link import hand_over, kept, remove, setup_file_of, write

LINK = "http://127.0.0.1:8081/link?token=secret"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "keystile.db"


def test_the_file_lies_beside_the_store_for_its_owner_alone(store: Path) -> None:
    path = write(store, LINK)
    assert path == setup_file_of(store) == store.parent / "keystile-setup-link.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text("utf-8") == f"{LINK}\n"


def test_what_the_file_holds_can_be_asked(store: Path) -> None:
    assert kept(store) == ""
    write(store, LINK)
    assert kept(store) == LINK


def test_a_symbolic_link_in_its_place_is_not_followed(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "somebody-elses"
    target.write_text("untouched", "utf-8")
    setup_file_of(store).symlink_to(target)
    assert not write(store, LINK).is_symlink()
    assert target.read_text("utf-8") == "untouched"


def test_a_symbolic_link_that_comes_back_is_an_error(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "not-there"
    setup_file_of(store).symlink_to(target)
    monkeypatch.setattr("keystile.storage.setup_link.remove", lambda _: None)
    with pytest.raises(StoreUnreadable):
        write(store, LINK)
    assert not target.exists()


def test_a_file_that_others_may_read_is_not_written_into(store: Path) -> None:
    path = setup_file_of(store)
    path.write_text("old", "utf-8")
    path.chmod(0o666)
    with path.open(encoding="utf-8") as held:
        write(store, LINK)
        assert held.read() == "old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_removing_what_is_not_there_is_no_error(store: Path) -> None:
    write(store, LINK)
    remove(store)
    remove(store)
    assert not setup_file_of(store).exists()


def test_a_terminal_shows_the_link_and_no_file_holds_it(store: Path) -> None:
    write(store, "an older link")
    stream = Terminal()
    said = hand_over(store, LINK, stream)
    assert LINK in stream.getvalue()
    assert LINK not in said
    assert not setup_file_of(store).exists()


def test_elsewhere_the_link_is_in_the_file_and_only_its_path_is_told(store: Path) -> None:
    stream = io.StringIO()
    said = hand_over(store, LINK, stream)
    assert stream.getvalue() == ""
    assert str(setup_file_of(store)) in said
    assert "secret" not in said


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable):
        write(tmp_path / "nowhere" / "keystile.db", LINK)
