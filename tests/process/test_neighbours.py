from __future__ import annotations

import asyncio
import socket

import pytest

from keystile.config.model import Listener
from keystile.process import sockets
from keystile.process.neighbours import Neighbours

LISTENER = Listener("127.0.0.1", 0)


async def test_what_waits_in_a_neighbours_queue_is_fetched_and_served() -> None:
    [opened] = sockets.listen("127.0.0.1", 0)
    served: asyncio.Queue[tuple[socket.socket, Listener]] = asyncio.Queue()

    async def adopt(accepted: socket.socket, listener: Listener) -> None:
        await served.put((accepted, listener))

    neighbours = Neighbours([(opened, LISTENER)], adopt)
    neighbours.start()
    for _ in range(3):
        with socket.create_connection(opened.getsockname()) as client:
            accepted, listener = await asyncio.wait_for(served.get(), 2)
            assert accepted.getpeername() == client.getsockname()
            assert listener is LISTENER
            accepted.close()
    neighbours.close()
    assert opened.fileno() == -1


async def test_a_connection_that_cannot_be_served_is_closed_and_the_next_is_fetched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [opened] = sockets.listen("127.0.0.1", 0)

    async def adopt(accepted: socket.socket, listener: Listener) -> None:
        raise ConnectionResetError("gone")

    neighbours = Neighbours([(opened, LISTENER)], adopt)
    neighbours.start()
    for _ in range(2):
        reader, writer = await asyncio.open_connection(*opened.getsockname())
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
    neighbours.close()
    assert capsys.readouterr().err.count("was not served: gone") == 2


async def test_without_somebody_to_adopt_nothing_is_fetched() -> None:
    [opened] = sockets.listen("127.0.0.1", 0)
    neighbours = Neighbours([(opened, LISTENER)], None)
    neighbours.start()
    with socket.create_connection(opened.getsockname()):
        await asyncio.sleep(0.1)
        opened.accept()[0].close()
    neighbours.close()


async def test_while_this_relay_is_busy_they_are_left_where_they_wait() -> None:
    [opened] = sockets.listen("127.0.0.1", 0)
    busy = True
    served: asyncio.Queue[socket.socket] = asyncio.Queue()

    async def adopt(accepted: socket.socket, _: Listener) -> None:
        await served.put(accepted)

    neighbours = Neighbours([(opened, LISTENER)], adopt, lambda: busy)
    neighbours.start()
    with socket.create_connection(opened.getsockname()):
        await asyncio.sleep(0.2)
        assert served.empty()
        busy = False
        (await asyncio.wait_for(served.get(), 10)).close()
    neighbours.close()
