from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.loadtest import api
from keystile.loadtest.api import HELD, LARGE, UPLOAD, Looking, Seen, Serving
from keystile.loadtest.connection import Connection, request
from keystile.loadtest.plan import Target
from tests.process.running import until


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[int, Looking]]:
    looking = Looking()
    server = await asyncio.get_running_loop().create_server(lambda: Serving(looking), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], looking


async def ask(port: int, path: str, forwarded_for: str, method: str = "GET", body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = f"Host: a\r\nX-Forwarded-For: {forwarded_for}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(f"{method} {path} HTTP/1.1\r\n{fields}".encode() + body)
    answered = await reader.readuntil(b"\r\n\r\n")
    length = int(answered.rpartition(b"Content-Length: ")[2])
    whole = await reader.readexactly(length)
    writer.close()
    return whole


def most(seen: Seen, address: str) -> int:
    return max(peak for peak, _ in seen.counts[address].values())


def last(seen: Seen, address: str) -> int | None:
    return next((now_open for _, now_open in reversed(seen.counts.get(address, {}).values())), None)


async def test_it_answers_every_path_and_sees_who_is_in_flight() -> None:
    async with serving() as (port, looking):
        answers = await asyncio.gather(
            *(ask(port, f"{HELD}?ms=300", "127.1.0.1") for _ in range(7)),
            ask(port, "/v4/anything?x=1", "8.8.8.8, 127.1.0.2"),
            ask(port, UPLOAD, "127.1.0.2", "POST", b"x" * 100_000),
        )
    assert {b"ann@example.com" in answer for answer in answers} == {True}
    assert most(looking.seen, "127.1.0.1") == 7
    assert most(looking.seen, "127.1.0.2") >= 1
    assert all(list(by_look.values())[-1][1] == 0 for by_look in looking.seen.counts.values())


async def test_answers_are_as_large_as_asked_for_within_bounds() -> None:
    async with serving() as (port, _):
        assert len(await ask(port, f"{LARGE}?kib=3", "a")) == 3072
        assert len(await ask(port, f"{LARGE}?kib=9999999", "a")) == 4096 * 1024
        assert await ask(port, f"{LARGE}?kib=-1", "a") == b""


async def test_who_leaves_is_in_flight_no_more() -> None:
    async with serving() as (port, looking):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {HELD}?ms=9000 HTTP/1.1\r\nX-Forwarded-For: a\r\n\r\n".encode())
        await asyncio.to_thread(until, lambda: last(looking.seen, "a") == 1, within=30)
        writer.close()
        await asyncio.to_thread(until, lambda: last(looking.seen, "a") == 0, within=30)


async def test_what_is_no_http_ends_the_connection() -> None:
    async with serving() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.3))))
def test_the_most_of_each_look_is_kept(steps: list[tuple[bool, float]]) -> None:
    clock, now_open, highest = Clock(), 0, 0
    looking = Looking(clock)
    for begins, later in steps:
        clock.now += later
        if begins:
            looking.begin("a")
            now_open += 1
        elif now_open:
            looking.end("a")
            now_open -= 1
        highest = max(highest, now_open)
    assert max((peak for peak, _ in looking.seen.counts.get("a", {}).values()), default=0) == highest


def test_it_ends_with_its_input_and_says_what_it_saw() -> None:
    command = [sys.executable, "-m", "keystile.loadtest.api"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        connection = Connection(Target("127.0.0.1", port, "localhost"), "", 30)
        assert connection.call(request("GET", "/a", "localhost", "X-Forwarded-For", "127.1.0.9")) == "answered"
        connection.close()
        said, _ = process.communicate(timeout=30)
    assert list(api.read(said).counts) == ["127.1.0.9"]


def test_other_last_words_are_an_error() -> None:
    with pytest.raises(ValueError, match="validation error"):
        api.read(b"Traceback")
