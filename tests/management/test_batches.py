from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from keystile.management.batches import BatchWriter
from keystile.management.usage import Sum, UsageWriter
from keystile.storage.errors import unreadable


class Letters(BatchWriter):
    """Collects letters; ``raised`` is what writing them raises."""

    what: ClassVar[str] = "letters"
    every: ClassVar[float] = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.waiting = ""
        self.written = ""
        self.raised: Exception | None = None
        self.wrote = asyncio.Event()

    def _take(self, payload: bytes) -> None:
        self.waiting += payload.decode("ascii")

    async def _write(self) -> bool:
        if self.raised is not None:
            raise self.raised
        if self.waiting:
            self.written += self.waiting[: self.most_at_once]
            self.waiting = self.waiting[self.most_at_once :]
            self.wrote.set()
        return bool(self.waiting)


async def test_what_waits_is_written_again_and_again_until_it_is_cancelled() -> None:
    letters = Letters()
    running = asyncio.get_running_loop().create_task(letters.run())
    for letter in (b"a", b"b"):
        letters.add(letter)
        async with asyncio.timeout(5):
            await letters.wrote.wait()
        letters.wrote.clear()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert letters.written == "ab"


async def test_trouble_is_told_once_and_again_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    letters = Letters()
    letters.add(b"a")
    with caplog.at_level(logging.WARNING):
        for trouble in (OSError("full"), OSError("full"), None, OSError("gone")):
            letters.raised = trouble
            await letters.flush()
    assert caplog.messages == [
        "letters cannot be written, trying again: full",
        "letters can be written again",
        "letters cannot be written, trying again: gone",
    ]
    assert letters.written == "a"


async def test_why_it_cannot_be_written_is_known_without_any_path() -> None:
    letters = Letters()
    letters.raised = unreadable(Path("/srv/keystile.db"), "database or disk is full")
    await letters.flush()
    assert (letters.trouble, letters.failures) == ("database or disk is full", 1)
    letters.raised = None
    await letters.flush()
    assert (letters.trouble, letters.failures) == (None, 1)


def test_what_is_no_batch_is_counted() -> None:
    letters = Letters()
    letters.add(b"\xff")
    assert (letters.waiting, letters.dropped) == ("", 1)


def test_a_batch_that_is_nested_too_deep_or_has_a_number_without_end_is_dropped_too() -> None:
    usage = UsageWriter(Nothing())
    usage.add(b"[" * 100_000)
    usage.add(b'[["k", Infinity, "", 1]]')
    assert usage.dropped == 2


class Nothing:
    async def record_usage(self, sums: Iterable[Sum]) -> None: ...


class Few(Letters):
    most_at_once: ClassVar[int] = 2


async def test_what_is_much_is_written_in_pieces_with_pauses_between_and_at_the_end_without() -> None:
    few = Few()
    few.add(b"abcdefghij")
    running = asyncio.get_running_loop().create_task(few.run())
    for written in ("ab", "abcd"):  # others have a turn before the next piece
        async with asyncio.timeout(5):
            await few.wrote.wait()
        few.wrote.clear()
        assert few.written == written
    running.cancel()
    few.raised = OSError("full")
    await few.flush()
    assert few.waiting == "efghij"
    few.raised = None
    await few.flush()
    assert few.written == "abcdefghij"


def test_a_piece_is_what_waits_longest() -> None:
    few = Few()
    waiting = {"a": 1, "b": 2, "c": 3}
    assert few._piece(waiting) == {"a": 1, "b": 2}
    assert waiting == {"c": 3}
