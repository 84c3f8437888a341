from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soak.answers import AnswerReader

HEAD = b"HTTP/1.1 200 OK\r\nX-Request-Id: 0123456789abcdef0123000000000001\r\n"


def framed(body: bytes, sizes: list[int]) -> bytes:
    """The body in chunks of these sizes, or with its length where there are none."""
    if not sizes:
        return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunks: list[bytes] = []
    while body:
        size = sizes[len(chunks) % len(sizes)]
        piece, body = body[:size], body[size:]
        chunks.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


@given(st.binary(max_size=60), st.lists(st.integers(1, 20), max_size=3), st.integers(1, 40))
def test_an_answer_is_whole_at_its_last_byte_in_whatever_pieces_it_comes(
    body: bytes, sizes: list[int], piece: int
) -> None:
    reader, data = AnswerReader(), framed(body, sizes)
    for at in range(0, len(data), piece):
        answer = reader.feed(data[at : at + piece])
        assert (answer is not None) == (at + piece >= len(data))
    assert answer is not None
    assert (answer.status, answer.size, answer.crc, answer.start) == (200, len(body), zlib.crc32(body), body)
    assert (answer.relay, answer.surplus, reader.begun) == (b"0123456789abcdef0123", b"", False)


@pytest.mark.parametrize("sizes", [[], [3]])
def test_what_comes_after_an_answer_is_surplus(sizes: list[int]) -> None:
    answer = AnswerReader().feed(framed(b"hello", sizes) + b"HTTP/1.1 200")
    assert answer is not None
    assert (answer.size, answer.surplus) == (5, b"HTTP/1.1 200")


def test_a_switch_has_no_body_and_what_follows_is_told() -> None:
    answer = AnswerReader().feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhello")
    assert answer is not None
    assert (answer.status, answer.surplus, answer.field(b"upgrade"), answer.field(b"x")) == (
        101,
        b"hello",
        b"websocket",
        b"",
    )


def test_an_answer_that_has_begun_is_known_to_have() -> None:
    reader = AnswerReader()
    assert not reader.begun
    reader.feed(HEAD)
    assert reader.begun
