"""Chunked bodies: what is written can be read, in whatever pieces, and what breaks the rules never is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keystile.wire.faults import Fault, WireError
from keystile.wire.framing import LAST_CHUNK, MAX_CHUNK_LINE, MAX_EXTENSIONS, MAX_TRAILERS, ChunkedReader, chunk
from tests.wire.splitting import in_pieces, splits

Outcome = tuple[bytes, bytes, str]


def read(pieces: list[bytes]) -> Outcome:
    """Body, what came behind it, and how it ended."""
    reader = ChunkedReader()
    body = b""
    for i, piece in enumerate(pieces):
        try:
            body += reader.feed(piece)
        except WireError as error:
            return b"", b"", "refused" if error.fault is Fault.BAD_FRAMING else "refused as something else"
        if reader.done:
            return body, reader.rest + b"".join(pieces[i + 1 :]), "done"
    return body, b"", "open"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=20), splits)
def test_what_is_written_in_chunks_is_read_in_any_pieces(pieces: list[bytes], behind: bytes, cuts: list[int]) -> None:
    written = b"".join(map(chunk, pieces)) + LAST_CHUNK + behind
    assert read(in_pieces(written, cuts)) == (b"".join(pieces), behind, "done")


#: Parts of which chunked bodies, good and bad, are made.
_parts = st.sampled_from(
    [b"5", b"0", b"1", b"a", b"\r\n", b"\r", b"\n", b"hello", b";", b"x=y", b"X: y", b" ", b"+", b"", b"\x00", b":",
     b"0\r\n\r\n", b"5\r\nhello\r\n", b"f" * 16, b"e" * 300, b"\xff"]
)  # fmt: skip


@given(st.lists(st.one_of(_parts, st.binary(max_size=4)), max_size=20).map(b"".join), splits)
@example(b"5;" + b"e" * (MAX_CHUNK_LINE - 2) + b"\r\nhello\r\n0\r\n\r\n", [MAX_CHUNK_LINE + 1])
@example(b"0\r\nX: " + b"y" * (MAX_TRAILERS - 3) + b"\r\n\r\n", [MAX_TRAILERS + 4])
def test_arbitrary_bytes_mean_the_same_in_every_split(data: bytes, cuts: list[int]) -> None:
    assert read(in_pieces(data, cuts)) == read([data])


@pytest.mark.parametrize(
    "data",
    [
        b"5;" + b"e" * (MAX_CHUNK_LINE - 2) + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX: " + b"y" * (MAX_TRAILERS - 3) + b"\r\n\r\n",
    ],
    ids=["size line", "trailer"],
)
def test_a_line_of_the_greatest_length_is_read_byte_by_byte_too(data: bytes) -> None:
    assert read([data])[2] == "done"
    assert read([bytes([byte]) for byte in data]) == read([data])


def test_extensions_are_bounded_in_all() -> None:
    one = b"1;" + b"e" * 200 + b"\r\nx\r\n"
    fitting = MAX_EXTENSIONS // 201
    assert read([one * fitting + LAST_CHUNK])[2] == "done"
    assert read([one * (fitting + 1) + LAST_CHUNK])[2] == "refused"


def test_trailers_are_bounded_in_all() -> None:
    one = b"X: " + b"y" * 97 + b"\r\n"
    fitting = MAX_TRAILERS // 100
    assert read([b"0\r\n" + one * fitting + b"\r\n"])[2] == "done"
    assert read([b"0\r\n" + one * (fitting + 1) + b"\r\n"])[2] == "refused"


@pytest.mark.parametrize("size", [MAX_CHUNK_LINE + 100, 10 * MAX_CHUNK_LINE])
def test_an_endless_line_is_refused_before_it_ends(size: int) -> None:
    assert read([b"0"] * size)[2] == "refused"


def test_a_bare_line_feed_is_refused_at_once() -> None:
    for begun in (b"5\n", b"5;a\n", b"5\r\nhello\n", b"0\r\n\n", b"0\r\nX: y\n"):
        with pytest.raises(WireError):
            ChunkedReader().feed(begun)


def test_a_reader_holds_no_body_bytes() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"a\r\n01234") == b"01234"
    assert reader.feed(b"56789") == b"56789"
    assert not reader.done
    assert reader.feed(b"\r\n0\r\n\r\nrest") == b""
    assert (reader.done, reader.rest) == (True, b"rest")


def test_one_large_chunk_is_not_copied_together() -> None:
    data = b"x" * 100_000
    assert ChunkedReader().feed(chunk(data)) == data
    assert chunk(data) == b"186a0\r\n" + data + b"\r\n"
