"""A change whose answer is lost is told with all that is known of it."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress
from typing import Any, cast

import aiohttp
import pytest

from tests.chaos.changes import ByApi, Changes, Lost
from tests.chaos.judge import timeline
from tests.chaos.story import Event, Story


class Cut(ByApi):
    """An API whose answers never come."""

    async def create(self, name: str) -> Any:
        raise Lost(repr(ConnectionResetError(104, "Connection reset by peer")))


@pytest.mark.parametrize(("meanwhile", "told"), [("upgrade", 1), ("management: kill -9", 0)])
async def test_a_lost_answer_is_told_with_its_reason_and_its_moment(meanwhile: str, told: int) -> None:
    story = Story([Event(meanwhile, time.monotonic(), pid=7)])
    way = Cut("http://127.0.0.1")
    nobody = cast(Any, None)
    made = Changes(nobody, nobody, way, story, random.Random(1))
    await made._try("create", made._create, way)
    assert made.lost == 1
    assert len(made.faults) == told
    for fault in made.faults:
        assert "create of key k1 (ConnectionResetError(104, 'Connection reset by peer')) after" in fault.text
        (line,) = timeline(fault, story)
        assert line.endswith(": upgrade 7")


def _serve(listening: socket.socket, asked: list[bytes]) -> None:
    """One request on each connection, which says that it stays, and then ends."""
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


async def test_a_call_is_not_made_on_a_connection_that_was_ended_while_the_loop_was_busy() -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = threading.Thread(target=_serve, args=(listening, asked), daemon=True)
        server.start()
        api = ByApi(base)
        async with aiohttp.ClientSession(base) as api._client:
            for number in range(20):
                assert await api.create(f"k{number}") == {}
                time.sleep(0.005)  # noqa: ASYNC251 - the loop reads nothing meanwhile
        listening.shutdown(socket.SHUT_RDWR)
    server.join(5)
    assert len(asked) == 20
