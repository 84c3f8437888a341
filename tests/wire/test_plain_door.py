"""Doors that are held: the kernel keeps a few that wait, and only who is fetched comes in."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, cast

import pytest

from keystile.wire.client import ClientConnection
from keystile.wire.plain_door import HELD_BACKLOG, PlainDoor, accepted_from, waited
from tests.relay.running import until


class Met(asyncio.Protocol):
    """A connection that came in by the door."""

    def __init__(self, met: list[Met]) -> None:
        self.met = met

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.met.append(self)


@pytest.fixture
async def door() -> AsyncIterator[tuple[PlainDoor, tuple[str, int], list[Met]]]:
    met: list[Met] = []
    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        tasks.append(loop.create_task(work))

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    listening.setblocking(False)
    made = PlainDoor(loop, listening, lambda: cast(ClientConnection, Met(met)), spawn)
    await made.open()
    yield made, listening.getsockname(), met
    made.close()
    for one in met:
        one.transport.abort()
    await asyncio.gather(*tasks)
    await asyncio.sleep(0)


async def test_it_accepts_until_it_is_held_and_again_after(door: tuple[PlainDoor, Any, list[Met]]) -> None:
    held, address, met = door
    with socket.create_connection(address), socket.create_connection(address):
        await until(lambda: len(met) == 2)
    held.hold()
    with socket.create_connection(address) as waiting:
        await asyncio.sleep(0.1)
        assert len(met) == 2
        fetched = held.fetch()
        assert fetched is not None
        assert fetched.getpeername() == waiting.getsockname()
        assert not fetched.getblocking()
        assert held.fetch() is None
        fetched.close()
    with socket.create_connection(address):
        held.go_on()
        await until(lambda: len(met) == 3)
    held.hold()
    held.go_on()
    held.hold()
    with socket.create_connection(address):
        await asyncio.sleep(0.1)
        assert len(met) == 3, "the last word counts, however fast they come"


async def test_while_it_is_held_the_kernel_keeps_only_a_few(door: tuple[PlainDoor, Any, list[Met]]) -> None:
    held, address, _ = door
    held.hold()
    clients = [socket.socket() for _ in range(4 * HELD_BACKLOG)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(address)
    await asyncio.sleep(0.05)
    fetched = 0
    while (one := held.fetch()) is not None:
        one.close()
        fetched += 1
    assert 1 <= fetched <= HELD_BACKLOG + 1
    for client in clients:
        client.close()


async def test_a_closed_door_stays_closed(door: tuple[PlainDoor, Any, list[Met]]) -> None:
    held, address, _ = door
    held.close()
    held.hold()
    held.go_on()
    await held.open()
    assert held.fetch() is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_how_long_a_connection_has_waited_is_counted_from_its_last_bytes() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket.create_connection(listening.getsockname()) as client:
            time.sleep(0.2)
            accepted = accepted_from(listening)
            assert accepted is not None
            with accepted:
                assert 0.1 < waited(accepted) < 10
                before = waited(accepted)
                client.send(b"x")
                assert waited(accepted) < before
    left, right = socket.socketpair()
    with left, right, pytest.raises(OSError):  # noqa: PT011 - what is no TCP has no such number
        waited(left)
