from __future__ import annotations

import asyncio

from tests.cluster.pipe import Pipe


async def test_what_was_on_its_way_when_it_was_cut_arrives_when_it_is_whole_again() -> None:
    ended = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
        ended.set()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    pipe = Pipe(server.sockets[0].getsockname()[1])
    await pipe.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", pipe.port)
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    pipe.whole.clear()
    writer.write(b"two")
    answer = asyncio.ensure_future(reader.readexactly(3))
    done, _ = await asyncio.wait([answer], timeout=0.05)
    assert not done
    pipe.whole.set()
    assert await answer == b"two"
    await pipe.close()
    await ended.wait()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
