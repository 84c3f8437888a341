"""The connection to the server, against a server of a few lines: answers in order, messages between, ends."""

from __future__ import annotations

import asyncio

import pytest

from keystile.cluster.connection import Connection
from keystile.cluster.scripts import BEAT, ServerError


async def pair(answer: bytes) -> tuple[Connection, list[bytes], list[bytes], list[str], asyncio.Server]:
    """A connection to a server that sends ``answer`` at whatever comes, and keeps what came."""
    came: list[bytes] = []
    heard: list[bytes] = []
    lost: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            came.append(data)
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(lambda: Connection(heard.append, lambda: lost.append("")), "127.0.0.1", port)
    return made, came, heard, lost, server


async def test_answers_come_in_order_and_messages_between_them() -> None:
    made, came, heard, _, server = await pair(b":1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n-ERR no\r\n")
    answers: list[object] = []
    made.call(BEAT, [b"k"], [b"a", b"b"], answers.append)
    made.call(BEAT, [b"k"], [b"a", b"b"], answers.append)
    await asyncio.sleep(0.1)
    assert answers[0] == 1
    assert isinstance(answers[1], ServerError)
    assert heard == [b"hi"]
    assert len(came) == 1, "one write for one turn of the loop"
    assert came[0].startswith(b"*6\r\n$7\r\nEVALSHA\r\n$40\r\n" + BEAT.digest)
    made.close()
    server.close()


async def test_what_an_answer_gives_rise_to_is_sent_with_it_in_one_write() -> None:
    made, came, _, _, server = await pair(b":1\r\n:2\r\n")
    left: list[int] = []

    def go_on(reply: object) -> None:
        if reply == 1 and not left:
            asyncio.get_running_loop().call_soon(lambda: left.append(len(made._out)))
            made.call(BEAT, [], [], lambda reply: None)
            made.call(BEAT, [], [], lambda reply: None)

    made.call(BEAT, [], [], go_on)
    await asyncio.sleep(0.1)
    assert left == [0], "nothing is left for another turn of the loop"
    assert [data.count(b"EVALSHA") for data in came[:2]] == [1, 2]
    made.close()
    server.close()


async def test_an_error_is_raised_where_an_answer_is_awaited() -> None:
    made, _, _, _, server = await pair(b"-WRONGPASS no\r\n")
    with pytest.raises(ServerError, match="WRONGPASS"):
        await made.ask(b"HELLO", b"3")
    made.close()
    server.close()


@pytest.mark.parametrize("how", ["abort", "nonsense"])
async def test_who_awaits_an_answer_hears_that_none_will_come(how: str) -> None:
    made, _, _, lost, server = await pair(b"?nonsense\r\n" if how == "nonsense" else b"")
    asking = asyncio.ensure_future(made.ask(b"PING"))
    await asyncio.sleep(0.01)
    if how == "abort":
        made.abort()
    with pytest.raises(ConnectionError):
        await asking
    assert lost == [""]
    server.close()


async def test_after_close_nothing_is_answered_and_nobody_is_told() -> None:
    made, came, _, lost, server = await pair(b":1\r\n")
    answers: list[object] = []
    made.call(BEAT, [b"k"], [], answers.append)
    made.close()
    await asyncio.sleep(0.02)
    assert came, "what was to be sent is sent"
    assert not answers
    assert not lost
    server.close()
