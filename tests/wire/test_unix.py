from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from keystile.wire import unix


def test_it_lies_beside_the_store_whatever_the_store_is_called_by(tmp_path: Path) -> None:
    (tmp_path / "real.db").touch()
    (tmp_path / "alias.db").symlink_to(tmp_path / "real.db")
    assert unix.beside(tmp_path / "alias.db", "calls") == tmp_path / "real.db.calls"


def test_long_names_are_shortened_and_stay_different(tmp_path: Path) -> None:
    one, other = (unix.beside(tmp_path / f"{'k' * 200}{end}.db", "calls") for end in "ab")
    assert one != other
    assert len(os.fsencode(one.name)) < 60
    assert one.name.endswith(".calls")


@pytest.mark.parametrize("deep", [False, True])
def test_a_bound_socket_is_for_its_owner_only_and_replaces_a_leftover(tmp_path: Path, deep: bool) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100) if deep else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "keystile.db.calls"
    path.write_text("a leftover")
    mask = os.umask(0)
    try:
        with unix.bound(path) as opened:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert os.umask(0) == 0  # ours again
            opened.listen()
            with socket.socket(socket.AF_UNIX) as client, unix.short(path) as place:
                client.connect(place)
    finally:
        os.umask(mask)


def test_a_directory_that_is_none_is_an_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No such file"):
        unix.bound(tmp_path / "nowhere" / "s")
    assert len(os.listdir("/proc/self/fd")) == before
