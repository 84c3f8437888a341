from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keystile.storage.window import TORN, Window


def file_with(path: Path, number: int) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, number.to_bytes(8, sys.byteorder), 0)
    return fd


def test_a_window_shows_what_is_written_to_the_file(tmp_path: Path) -> None:
    window, fd = Window(), file_with(tmp_path / "a", 7)
    window.show(fd)
    assert window.words[0] == 7
    os.pwrite(fd, (8).to_bytes(8, sys.byteorder), 0)
    assert window.words[0] == 8
    os.close(fd)
    assert window.words[0] == 8


def test_the_view_stays_the_same_whatever_file_is_shown(tmp_path: Path) -> None:
    window = Window()
    words = window.words
    for number in (1, 2, 3):
        fd = file_with(tmp_path / str(number), number)
        window.show(fd)
        os.close(fd)
        assert words[0] == number


def test_nobody_can_write_through_a_window() -> None:
    with pytest.raises(TypeError):
        Window().words[0] = 1


def test_a_truncated_file_reads_as_torn_and_kills_nobody(tmp_path: Path) -> None:
    window, fd = Window(), file_with(tmp_path / "a", 7)
    window.show(fd)
    for _ in range(3):
        os.ftruncate(fd, 0)
        assert window.words[0] == TORN
        os.pwrite(fd, (9).to_bytes(8, sys.byteorder), 0)
        assert window.words[0] == TORN  # until it is shown again
        window.show(fd)
        assert window.words[0] == 9
    os.close(fd)


def test_a_view_outlives_its_window_and_reads_as_torn(tmp_path: Path) -> None:
    window, fd = Window(), file_with(tmp_path / "a", 7)
    window.show(fd)
    words = window.words
    del window
    os.ftruncate(fd, 0)
    assert words[0] == TORN
    os.close(fd)


def test_what_cannot_be_mapped_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be mapped"):
        Window().show(-1)


FOREIGN = """
import mmap, os, sys
from keystile.storage.window import Window
window = Window()
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8)
other = mmap.mmap(fd, 8)
os.ftruncate(fd, 0)
other[0]
"""


def test_a_bus_error_anywhere_else_still_ends_the_process(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(tmp_path / "b")], stderr=subprocess.PIPE, check=False, timeout=30
    )
    assert ended.returncode == -signal.SIGBUS, ended.stderr
