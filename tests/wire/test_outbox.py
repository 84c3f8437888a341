"""Messages of one turn leave together, in order, and only where somebody still wants them."""

from __future__ import annotations

import asyncio
from typing import cast

from keystile.wire.outbox import Outbox


class Written:
    def __init__(self, log: list[str], name: str, *, closing: bool = False) -> None:
        self.log = log
        self.name = name
        self.closing = closing
        self.ended = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, message: bytes) -> None:
        self.log.append(f"{self.name} wrote {message.decode()}")

    def written(self) -> None:
        self.log.append(f"{self.name} was told")


def transport(of: Written) -> asyncio.Transport:
    return cast(asyncio.Transport, of)


async def test_nothing_is_written_before_the_end_of_the_turn() -> None:
    log: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    a, b = Written(log, "a"), Written(log, "b")
    outbox.put(transport(a), b"1", a)
    outbox.put(transport(b), b"2")
    assert log == []
    await asyncio.sleep(0)
    assert log == ["a wrote 1", "a was told", "b wrote 2"]


async def test_what_is_put_while_writing_leaves_in_the_next_turn() -> None:
    log: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())

    class Again(Written):
        def written(self) -> None:
            outbox.put(transport(self), b"again")

    outbox.put(transport(again := Again(log, "a")), b"first", again)
    await asyncio.sleep(0)
    assert log == ["a wrote first"]
    await asyncio.sleep(0)
    assert log == ["a wrote first", "a wrote again"]


async def test_a_closing_connection_and_an_ended_sender_get_nothing() -> None:
    log: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    closing, ended = Written(log, "closing", closing=True), Written(log, "ended")
    ended.ended = True
    outbox.put(transport(closing), b"1", closing)
    outbox.put(transport(ended), b"2", ended)
    await asyncio.sleep(0)
    assert log == []
