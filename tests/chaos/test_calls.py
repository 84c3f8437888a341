from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress

import pytest

from tests.chaos.calls import Calls, Line, head, outcome_of, says_close
from tests.chaos.kinds import CUT, LEFT, NO_CONNECTION
from tests.chaos.ledger import Entry, Ledger
from tests.soak.answers import Answer, AnswerReader

PROBLEM = b'{"type": "urn:keystile:problem:scope-missing"}'


def entry() -> Entry:
    return Ledger().begin("POST with length", 1.0)


def answer(status: int = 200, body: bytes = b"ok", fields: bytes = b"", *, number: int = 1, crc: int = -1) -> bytes:
    crc = zlib.crc32(body) if crc < 0 else crc
    own = b"X-Chaos-Id: %d\r\nX-Chaos-Crc: %d\r\nContent-Length: %d\r\n" % (number, crc, len(body))
    return b"HTTP/1.1 %d X\r\n%b%b\r\n%b" % (status, own, fields, body)


def read(data: bytes) -> Answer:
    whole = AnswerReader().feed(data)
    assert whole is not None
    return whole


@pytest.mark.parametrize(
    ("data", "sent", "outcome"),
    [
        (answer(), b"", "200"),
        (answer(500), b"", "500"),
        (answer(body=b"5 %d" % zlib.crc32(b"hello")), b"hello", "200"),
        (answer(number=2), b"", "wrong: 200 to request 2"),
        (answer(crc=5), b"", "wrong: 2 bytes of another body"),
        (answer(body=b"4 7"), b"hello", "wrong: the server got b'4 7' of 5 bytes"),
        (answer(403, PROBLEM, b"Content-Type: application/problem+json\r\n", number=9), b"", "403"),
    ],
)
def test_an_answer_is_right_only_if_it_is_this_requests_and_whole(data: bytes, sent: bytes, outcome: str) -> None:
    assert outcome_of(entry(), read(data), b"", sent) == outcome


def test_what_comes_besides_an_answer_is_told() -> None:
    assert outcome_of(entry(), read(answer()), b"HTTP/1.1 200") == "wrong: b'HTTP/1.1 200' came besides 200"


def test_the_type_of_a_refusal_is_noted() -> None:
    refused = entry()
    outcome_of(refused, read(answer(403, PROBLEM, b"Content-Type: application/problem+json\r\n")), b"")
    assert refused.problem == "scope-missing"


def test_a_head_carries_key_and_number() -> None:
    sent = head(entry(), "GET", "/calm/now", b"SECRET", b"A: b\r\n")
    assert sent.startswith(b"GET /calm/now HTTP/1.1\r\nHost: ")
    assert sent.endswith(b"X-Api-Key: SECRET\r\nX-Chaos-Id: 1\r\nA: b\r\n\r\n")
    assert b"X-Api-Key" not in head(entry(), "GET", "/calm/now", b"")


def test_who_says_close_is_not_asked_again() -> None:
    assert says_close(read(answer(fields=b"Connection: close\r\n")))
    assert not says_close(read(answer()))


# -- over a connection -----------------------------------------------------------------------------------


class Peer:
    """A server that sends these pieces to each request, then closes where told to."""

    def __init__(self, *pieces: bytes, close: bool = False) -> None:
        self.pieces = pieces
        self.close = close
        self.met: list[bytes] = []
        self.ended = asyncio.Event()
        self.ledger = Ledger()
        self.calls = Calls(self.ledger, lambda relay, _: self.met.append(relay))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in self.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if not self.close:
            with suppress(OSError):  # whoever has heard enough hangs up with a reset
                await reader.read()
        writer.close()
        self.ended.set()

    async def asked(self) -> tuple[Entry, Line]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        one = self.ledger.begin("GET, new connection", 1.0)
        line = await self.calls.connect(one, port, "127.0.0.1")
        assert line is not None
        await self.calls.ask(one, line, head(one, "GET", "/", b""))
        server.close()
        line.hang_up()
        await asyncio.wait_for(self.ended.wait(), 10)
        return one, line


async def test_an_answer_ends_the_entry_and_tells_which_relay_it_was() -> None:
    peer = Peer(answer(fields=b"X-Request-Id: 0123456789abcdef0123000000000001\r\n"))
    one, line = await peer.asked()
    assert (one.outcome, one.client, one.relay) == ("200", line.address, b"0123456789abcdef0123")
    assert peer.met == [one.relay]


@pytest.mark.parametrize(("pieces", "note"), [([], ""), ([answer()[:-1]], " within its answer")])
async def test_a_connection_that_ends_first_is_a_cut(pieces: list[bytes], note: str) -> None:
    one, _ = await Peer(*pieces, close=True).asked()
    assert (one.outcome, one.note) == (CUT, note)


async def test_an_answer_that_comes_twice_is_seen() -> None:
    one, _ = await Peer(answer() + answer()).asked()
    assert one.outcome.startswith("wrong: ")


async def test_nobody_who_listens_is_an_outcome() -> None:
    ledger = Ledger()
    one = ledger.begin("GET, new connection", 1.0)
    assert await Calls(ledger, lambda *_: None).connect(one, 9, "127.0.0.1") is None
    assert one.outcome == NO_CONNECTION


async def test_who_leaves_ends_an_entry_that_has_not_ended() -> None:
    peer = Peer(answer())
    done, line = await peer.asked()
    peer.calls.leave(done, line)
    assert done.outcome == "200"
    other = peer.ledger.begin("leaves before the answer", 1.0)
    peer.calls.leave(other, line)
    assert (other.outcome, line.ended) == (LEFT, True)
