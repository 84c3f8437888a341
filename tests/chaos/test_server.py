from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench.processes import free_port

from tests.chaos.seen import Records, read
from tests.chaos.server import Server
from tests.soak.answers import AnswerReader
from tests.soak.patience import until


class One:
    """A server in this process, and what it has written down."""

    def __init__(self, file: Path, port: int) -> None:
        self.file = file
        self.port = port
        self.server = Server(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT))

    @property
    def records(self) -> Records:
        return read([self.file])

    async def begin(
        self, path: str, number: int = 7, more: bytes = b""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        fields = b"X-Forwarded-For: 127.0.1.1\r\nX-Request-Id: %b\r\nX-Chaos-Id: %d\r\n" % (b"ab" * 16, number)
        writer.write(b"POST %b HTTP/1.1\r\n%b%b\r\n" % (path.encode(), fields, more))
        return reader, writer

    async def ask(self, path: str) -> tuple[int, bytes]:
        """Status and body, or 0 where the connection ends first."""
        reader, writer = await self.begin(path)
        answers = AnswerReader()
        while data := await asyncio.wait_for(reader.read(65536), 10):
            if (answer := answers.feed(data)) is not None:
                assert answer.field(b"X-Chaos-Id") == b"7"
                assert answer.field(b"X-Chaos-Crc") == str(answer.crc).encode()
                writer.close()
                return answer.status, answer.start
        writer.close()
        return 0, b""


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[One]:
    here = One(tmp_path / "calm.seen", free_port())
    await here.server.listen(here.port)
    yield here
    here.server.refuse()


async def test_what_it_sees_is_written_down_with_who_and_when(one: One) -> None:
    assert await one.ask("/calm/now") == (200, b"ok")
    [seen] = one.records.seen
    assert (seen.server, seen.request, seen.address, seen.method, seen.relay) == (
        "calm",
        7,
        "127.0.1.1",
        "POST",
        b"ab" * 10,
    )
    assert seen.began <= seen.surely_until == seen.until < float("inf")


async def test_the_path_says_how_it_answers(one: One) -> None:
    assert await one.ask("/calm/for/10") == (200, b"ok")
    assert (await one.ask("/calm/size/100000"))[0] == 200
    assert (await one.ask("/calm/chunks/100000"))[0] == 200


async def test_a_body_is_told_back_by_size_and_sum(one: One) -> None:
    reader, writer = await one.begin("/calm/echo", more=b"Content-Length: 5\r\n")
    writer.write(b"hello")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert await reader.readexactly(len(b"5 %d" % zlib.crc32(b"hello"))) == b"5 %d" % zlib.crc32(b"hello")
    writer.close()


async def test_what_is_held_is_answered_when_it_is_released(one: One) -> None:
    asked = asyncio.ensure_future(one.ask("/calm/hold"))
    assert await until(lambda: bool(one.server.held), 5)
    one.server.release("127.0.1.1")
    assert await asked == (200, b"ok")


@pytest.mark.parametrize(("mode", "status"), [("close", 0), ("half", 0), ("garbage", 0), ("error", 500)])
async def test_it_fails_as_it_is_told_to(one: One, mode: str, status: int) -> None:
    one.server.mode = mode
    if mode == "garbage":
        reader, writer = await one.begin("/calm/now")
        assert (await reader.read()).startswith(b"SSH")
        writer.close()
    else:
        assert (await one.ask("/calm/now"))[0] == status
    assert len(one.records.seen) == 1


async def test_one_whose_other_end_is_gone_was_in_flight_until_it_was_last_known_to_be(one: One) -> None:
    _, writer = await one.begin("/calm/hold", 1)
    assert await until(lambda: bool(one.server.held), 5)
    [gone] = one.server.held["127.0.1.1"]
    writer.transport.abort()
    assert await until(lambda: gone.gone, 5)
    [seen] = one.records.seen
    assert seen.began <= seen.surely_until < seen.until


async def test_where_it_refuses_nobody_can_connect_until_it_listens_again(one: One) -> None:
    one.server.refuse()
    with pytest.raises(OSError, match="refused"):
        await one.begin("/calm/now")
    await one.server.listen(one.port)
    assert await one.ask("/calm/now") == (200, b"ok")


async def test_a_question_for_its_health_is_answered_and_written_down_nowhere(one: One) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    for mode, status in (("ok", b"200"), ("error", b"500")):
        one.server.mode = mode
        writer.write(b"GET /health/now HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head[9:12] == status
        await reader.readexactly(2 if mode == "ok" else len(b"it is broken"))
    writer.close()
    assert one.records.seen == []
