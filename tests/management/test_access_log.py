from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from keystile.management import access_log
from keystile.management.access_log import LogWriter
from tests.process.running import until


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_bytes(b"old\n")
    writer = LogWriter(file)
    for number in range(1000):
        writer.add(b"%d\n" % number)
    writer.close(5)
    assert file.read_bytes() == b"old\n" + b"".join(b"%d\n" % number for number in range(1000))
    assert writer.dropped == 0


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    writer = LogWriter(file)
    writer.add(b"one\n")
    while not file.exists() or not file.stat().st_size:
        time.sleep(0.01)
    file.rename(moved)
    writer.add(b"two\n")
    writer.close(5)
    assert (moved.read_bytes(), file.read_bytes()) == (b"one\n", b"two\n")


def test_a_reader_that_stops_reading_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MOST_WAITING", 100_000)
    reading, writing = os.pipe()
    monkeypatch.setattr(access_log, "_STDOUT", writing)
    writer = LogWriter()
    began = time.monotonic()
    for _ in range(1000):
        writer.add(b"x" * 999 + b"\n")
    writer.close(0.1)
    assert time.monotonic() - began < 1
    assert writer.dropped >= 700
    os.close(reading)  # lets the thread go
    writer.close(5)
    os.close(writing)


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "nowhere" / "access.log")
    writer.add(b"one\ntwo\n")
    writer.close(5)
    assert writer.dropped == 2


def test_lines_go_elsewhere_from_one_moment_on(tmp_path: Path) -> None:
    one, other = tmp_path / "one.log", tmp_path / "other.log"
    writer = LogWriter(one)
    for number in range(1000):
        writer.add(b"%d\n" % number)
        if number == 500:
            writer.write_to(other)
            writer.write_to(other)  # the same place again is nothing
    writer.close(5)
    lines = [int(line) for file in (one, other) for line in file.read_bytes().split()]
    assert lines == list(range(1000))
    assert len(one.read_bytes().split()) == 501


def test_a_reader_that_stops_reading_keeps_no_line_from_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "MOST_WAITING", 100_000)
    reading, writing = os.pipe()
    monkeypatch.setattr(access_log, "_STDOUT", writing)
    writer = LogWriter()
    for _ in range(200):
        writer.add(b"x" * 999 + b"\n")
    dropped = writer.dropped
    assert dropped
    writer.write_to(tmp_path / "access.log")
    writer.add(b"one\n")
    writer.close(0.2)
    assert (tmp_path / "access.log").read_bytes() == b"one\n"
    assert writer.dropped >= dropped  # what did not reach the one before stays counted
    os.close(reading)
    writer.close(5)
    os.close(writing)


def test_a_full_disk_is_said_once_and_again_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    full, room = os.open("/dev/full", os.O_WRONLY), os.open(tmp_path / "room", os.O_WRONLY | os.O_CREAT)
    monkeypatch.setattr(access_log, "_STDOUT", full)
    writer = LogWriter()
    for number in range(1, 6):
        writer.add(b"one\ntwo\n")
        while writer.dropped < 2 * number:
            time.sleep(0.001)
    writer._places[-1]._fd = room
    writer.add(b"three\n")
    writer.close(5)
    assert (tmp_path / "room").read_bytes() == b"three\n"
    assert caplog.messages == [
        "access-log lines cannot be written and are lost: No space left on device",
        "access-log lines can be written again; 10 were lost",
    ]
    os.close(full)
    os.close(room)


def test_a_look_while_the_disk_is_full_does_not_say_that_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "access.log"
    file.symlink_to("/dev/full")
    writer = LogWriter(file)
    for number in range(1, 4):
        writer.add(b"one\n")
        while writer.dropped < number:
            time.sleep(0.001)
        writer.look()
    writer.close(5)
    assert caplog.messages == ["access-log lines cannot be written and are lost: No space left on device"]


def test_a_file_is_for_its_owner_and_group(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    before = os.umask(0)
    try:
        writer = LogWriter(file)
        writer.add(b"one\n")
        writer.close(5)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_no_line_is_lost_or_cut_in_two_by_rotations_under_load(tmp_path: Path) -> None:
    """Moved away with and without a look, as logrotate does it; moved again before a line came; copied and cut."""
    file = tmp_path / "access.log"
    writer = LogWriter(file)
    lines = [b'{"n":%d,"fill":"%b"}\n' % (number, b"x" * (number % 700)) for number in range(20_000)]
    rotations = 0
    for at in range(0, len(lines), 25):
        writer.add(b"".join(lines[at : at + 25]))
        if at % 2500 == 0:
            until(file.exists)  # else the thread might open it once for all of them
        if at % 500 == 0 and file.exists():
            rotations += 1
            file.rename(tmp_path / f"access.log.{rotations:03d}")
            if rotations % 2:
                writer.look()
    writer.close(20)
    kept = [*sorted(tmp_path.glob("access.log.*")), file]
    assert rotations >= 8
    assert b"".join(each.read_bytes() for each in kept if each.exists()) == b"".join(lines)
    assert writer.dropped == 0


def test_a_look_opens_the_file_anew_where_no_line_comes(tmp_path: Path) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    writer = LogWriter(file)
    writer.look()
    until(file.exists)
    file.rename(moved)
    writer.look()
    until(file.exists)
    moved.unlink()
    writer.add(b"one\n")
    writer.close(5)
    assert file.read_bytes() == b"one\n"


def test_while_a_rotation_leaves_no_name_to_write_to_lines_go_to_the_file_that_was_moved(tmp_path: Path) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    writer = LogWriter(file)
    writer.add(b"one\n")
    until(lambda: file.exists() and file.stat().st_size)
    file.rename(moved)
    file.mkdir()  # stands for a directory in which this user may make no file
    writer.add(b"two\n")
    until(lambda: moved.stat().st_size == 8)
    file.rmdir()
    writer.add(b"three\n")
    writer.close(5)
    assert (moved.read_bytes(), file.read_bytes(), writer.dropped) == (b"one\ntwo\n", b"three\n", 0)


def test_lines_for_a_file_that_is_nowhere_any_more_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    writer = LogWriter(file)
    writer.add(b"one\n")
    until(lambda: file.exists() and file.stat().st_size)
    file.unlink()
    file.mkdir()
    writer.add(b"two\n")
    writer.close(5)
    assert writer.dropped == 1


def test_a_line_of_which_half_found_room_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write, room = tmp_path / "access.log", os.write, [9, 0]

    def with_little_room(fd: int, data: Any) -> int:
        if fd != writer._places[-1]._fd or not room:
            return write(fd, data)
        if not (least := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, bytes(data)[:least])

    monkeypatch.setattr(os, "write", with_little_room)
    writer = LogWriter(file)
    writer.add(b"one\nhalf a line\nlost\n")
    until(lambda: writer.dropped == 2)
    writer.look()
    writer.add(b"two\n")
    writer.close(5)
    assert file.read_bytes() == b"one\nhalf \ntwo\n"
    assert writer.dropped == 2
