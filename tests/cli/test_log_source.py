from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from keystile.cli import log_source
from keystile.cli.terminal import CommandFailed


class Ended(Exception):
    """There is nothing more to happen."""


def following(file: Path, *steps: Callable[[], object]) -> list[bytes]:
    """What comes of following ``file`` while one step after the other is done, one at each pause."""
    left = iter(steps)

    def pause(seconds: float) -> None:
        step = next(left, None)
        if step is None:
            raise Ended
        step()

    lines: list[bytes] = []
    with suppress(Ended):
        for line in log_source.followed(file, pause):
            lines.append(line)
    return lines


def append(file: Path, text: bytes) -> Callable[[], object]:
    def step() -> None:
        with file.open("ab") as opened:
            opened.write(text)

    return step


def test_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\ntwo\nthree")
    assert list(log_source.of_file(file)) == [b"one\n", b"two\n", b"three"]
    assert list(log_source.of_stream(io.BytesIO(b""))) == []


def test_a_file_without_lines_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_source, "LONGEST", 10)
    assert list(log_source.of_stream(io.BytesIO(b"x" * 25))) == [b"x" * 10, b"x" * 10, b"x" * 5]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    sources: list[Callable[[Path], Iterator[bytes]]] = [log_source.of_file, log_source.followed]
    for source in sources:
        lines = source(tmp_path / "nowhere")
        with pytest.raises(CommandFailed, match="cannot be read: No such file"):
            next(lines)


def test_what_is_written_later_comes_later(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\n")
    lines = following(file, append(file, b"tw"), append(file, b"o\nthree\n"), append(file, b""))
    assert lines == [b"one\n", b"two\n", b"three\n"]


def test_a_file_that_was_moved_away_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    file, moved = tmp_path / "log", tmp_path / "log.1"
    file.write_bytes(b"one\n")
    lines = following(
        file,
        lambda: file.rename(moved),
        append(moved, b"two\n"),
        lambda: (append(moved, b"three\n")(), file.write_bytes(b"four\n")),
        append(file, b"five\n"),
    )
    assert lines == [b"one\n", b"two\n", b"three\n", b"four\n", b"five\n"]


def test_a_half_line_of_the_old_file_is_not_joined_to_the_new_ones(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\nhal")
    lines = following(file, lambda: (file.rename(tmp_path / "log.1"), file.write_bytes(b"two\n")), append(file, b""))
    assert lines == [b"one\n", b"hal", b"two\n"]


def test_a_file_that_was_cut_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\ntwo\n")
    assert following(file, lambda: file.write_bytes(b"3\n"), append(file, b"4\n")) == [
        b"one\n", b"two\n", b"3\n", b"4\n",
    ]  # fmt: skip


def test_whoever_has_seen_enough_leaves_no_file_open(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\ntwo\n")
    source = log_source.followed(file)
    assert list(islice(source, 1)) == [b"one\n"]
    source.close()  # type: ignore[attr-defined]  # a generator; an open file would be a warning, which is an error
