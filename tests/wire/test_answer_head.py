"""Answer heads: where the body ends, which lines go on, and that a doubt is an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire.answer_head import UNTIL_CLOSE, AnswerHead, pattern_of, read_answer_head
from keystile.wire.faults import Fault, WireError
from tests.attributes import attributes


def read(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", to_head: bool = False) -> AnswerHead:
    return read_answer_head(b"\r\n".join([start, *lines, b"", b""]), to_head=to_head)


def fault(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> Fault:
    with pytest.raises(WireError) as raised:
        read(*lines, start=start)
    return raised.value.fault


def test_a_length_says_where_the_body_ends() -> None:
    answer = read(b"Server: x", b"content-length:  007", b"Date: y")
    assert answer.start == b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: y\r\n"
    assert (answer.status, answer.content_length, answer.chunked, answer.reusable) == (200, 7, False, True)
    assert answer.framing == b"Content-Length: 7\r\n"


def test_chunks_say_where_the_body_ends() -> None:
    answer = read(b"TRANSFER-ENCODING: Chunked", b"A: b")
    assert (answer.chunked, answer.content_length, answer.reusable) == (True, UNTIL_CLOSE, True)
    assert (answer.start, answer.framing) == (b"HTTP/1.1 200 OK\r\nA: b\r\n", b"Transfer-Encoding: chunked\r\n")


def test_without_a_framing_the_connection_says_where_the_body_ends() -> None:
    answer = read(b"A: b")
    assert (answer.content_length, answer.chunked, answer.reusable) == (UNTIL_CLOSE, False, False)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"content-length: 6"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding:"],
        *([b"Content-Length: " + value] for value in (b"", b"+5", b"-5", b"0x5", b"5_0", b"5, 5", b"\xb2", b"9" * 19)),
    ],
)
@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK", b"HTTP/1.1 204 X", b"HTTP/1.1 304 X", b"HTTP/1.1 103 X"])
def test_a_doubt_about_the_end_is_an_error_for_every_status(lines: list[bytes], start: bytes) -> None:
    assert fault(*lines, start=start) in (Fault.BAD_FRAMING, Fault.UNKNOWN_CODING)


@pytest.mark.parametrize("start", [b"HTTP/1.1 100 C", b"HTTP/1.1 103 E", b"HTTP/1.1 204 N", b"HTTP/1.1 304 N"])
@pytest.mark.parametrize("line", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"A: b"])
def test_some_statuses_have_no_body_whatever_their_fields_say(start: bytes, line: bytes) -> None:
    answer = read(line, start=start)
    assert (answer.content_length, answer.chunked, answer.reusable) == (0, False, True)
    told = start.endswith(b"304 N") and line.startswith(b"Content")
    assert answer.framing == (b"Content-Length: 5\r\n" if told else b"")


def test_an_answer_to_head_has_no_body_but_says_how_long_it_would_be() -> None:
    answer = read(b"Content-Length: 5", to_head=True)
    assert (answer.content_length, answer.framing, answer.reusable) == (0, b"Content-Length: 5\r\n", True)
    for line in (b"Transfer-Encoding: chunked", b"A: b"):
        answer = read(line, to_head=True)
        assert (answer.content_length, answer.chunked, answer.framing) == (0, False, b"")


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 99 X", b"HTTP/1.1 099 X", b"HTTP/1.1 600 X", b"HTTP/1.1 2000 X", b"HTTP/1.1 20x X", b"HTTP/1.1200 OK",
     b"HTTP/1.1  200 OK", b"HTTP/1.2 200 OK", b"HTTP/2 200 OK", b"HTTP/2.0 200 OK", b"http/1.1 200 OK", b"ICY 200 OK",
     b"HTTP/1.1\t200 OK", b" HTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK",
     b"HTTP/1.1 200 O\nK", b"HTTP/1.1 \xb2\xb200 OK", b"HTTP/1.1", b"", b"HTTP/1.1 +20 OK", b"HTTP/1.1 200OK"],
)  # fmt: skip
def test_what_is_no_status_line(start: bytes) -> None:
    assert fault(b"Content-Length: 0", start=start) is Fault.MALFORMED


@pytest.mark.parametrize(
    "line",
    [b"X : y", b" X: y", b"X: a\r\n b", b": y", b"X", b"X Y: z", b"X: \x00", b"X: a\rb", b"X: a\nb", b"X: \x7f",
     b"Content-Length : 5", b"X\n\nHTTP/1.1 200 OK: y", b"X\x80: y"],
)  # fmt: skip
def test_what_is_no_field(line: bytes) -> None:
    assert fault(line) is Fault.MALFORMED


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"Keep-Alive", b"Proxy-Authenticate", b"Proxy-Authentication-Info", b"Proxy-Connection", b"TE",
     b"Trailer", b"UPGRADE", b"transfer-Encoding", b"HTTP2-Settings"],
)  # fmt: skip
def test_lines_about_the_connection_stay_here(name: bytes) -> None:
    value = b"chunked" if name.lower() == b"transfer-encoding" else b"keep-alive"
    answer = read(b"A: b", name + b": " + value, b"C: Connection: x")
    assert answer.start == b"HTTP/1.1 200 OK\r\nA: b\r\nC: Connection: x\r\n"


def test_a_line_that_only_begins_like_one_of_them_goes_on() -> None:
    answer = read(b"Connection-Id: 7", b"X-Connection: 8", b"Tea: z", b"Content-Length: 0")
    assert answer.start == b"HTTP/1.1 200 OK\r\nConnection-Id: 7\r\nX-Connection: 8\r\nTea: z\r\n"


def test_lines_that_connection_names_stay_here_too() -> None:
    answer = read(b"A: b", b"Private: c", b"Connection: private, keep-alive", b"Content-Length: 0")
    assert (answer.start, answer.reusable) == (b"HTTP/1.1 200 OK\r\nA: b\r\n", True)


@pytest.mark.parametrize("value", [b"close", b"Close", b"x, CLOSE", b"keep-alive, close"])
def test_a_server_that_says_close_is_believed(value: bytes) -> None:
    assert not read(b"Content-Length: 0", b"Connection: " + value).reusable
    assert not read(b"Content-Length: 0", b"Connection: keep-alive", b"Connection: " + value).reusable


def test_an_http_1_0_answer_is_told_as_1_1_and_its_connection_is_not_used_again() -> None:
    answer = read(b"Content-Length: 5", b"Connection: keep-alive", b"A: b", start=b"HTTP/1.0 200 OK")
    assert (answer.start, answer.reusable) == (b"HTTP/1.1 200 OK\r\nA: b\r\n", False)
    assert fault(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK") is Fault.UNKNOWN_CODING


def test_a_missing_reason_is_made_an_empty_one() -> None:
    assert read(b"Content-Length: 0", start=b"HTTP/1.1 200").start == b"HTTP/1.1 200 \r\n"
    assert read(b"Content-Length: 0", start=b"HTTP/1.1 200 ").start == b"HTTP/1.1 200 \r\n"


_line = st.one_of(
    st.sampled_from(
        [
            b"Content-Length: 5",
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            b"A: b",
            b" fold",
            b"X :y",
            b"",
            b"Connection: a",
            b"content-length:",
        ]
    ),
    st.binary(max_size=12),
)
_start = st.one_of(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 X", b"HTTP/1.1 304", b"HTTP/1.1 103 X"]),
    st.binary(max_size=20),
)


@given(_start, st.lists(_line, max_size=5), st.booleans())
def test_arbitrary_heads_are_read_or_refused(start: bytes, lines: list[bytes], to_head: bool) -> None:
    try:
        answer = read(*lines, start=start, to_head=to_head)
    except WireError:
        return
    assert 100 <= answer.status <= 599
    assert answer.start.startswith(b"HTTP/1.1 %d " % answer.status)
    assert answer.start.endswith(b"\r\n")
    assert b"\r\n\r\n" not in answer.start
    assert answer.start.count(b"\n") == answer.start.count(b"\r\n") == answer.start.count(b"\r")
    names = {line.partition(b":")[0].lower() for line in answer.start.split(b"\r\n")[1:]}
    assert not names & {b"content-length", b"transfer-encoding", b"connection"}
    assert not (answer.chunked and answer.content_length != UNTIL_CLOSE)
    assert answer.reusable is False or answer.chunked or answer.content_length >= 0


# -- heads that differ from the last one in a length --------------------------------------------------------


def said(answer: AnswerHead) -> list[object]:
    return [getattr(answer, name) for name in attributes(AnswerHead)]


_lengths = st.one_of(
    st.integers(0, 10**20).map(b"%d".__mod__),
    st.sampled_from([b"", b"+5", b"-5", b"0x5", b"5_0", b" 5", b"5 ", b"5, 5", b"007", b"\xb2", b"9" * 18, b"9" * 19,
                     b"5\r\nContent-Length: 5", b"5\r\nTransfer-Encoding: chunked", b"5\r\n\r\n"]),
)  # fmt: skip
_around = st.lists(
    st.sampled_from([b"A: b", b"Connection: close", b"Connection: a", b"Date: x", b"X: Content-Length: 7", b"X: 5"]),
    max_size=3,
)
_named = st.sampled_from([b"Content-Length: ", b"content-length: ", b"Content-Length:", b"Content-Length:  "])


@given(_start, _around, _named, _around, st.integers(0, 9999), _lengths)
def test_a_head_with_another_length_says_what_it_would_say_if_it_were_read(
    start: bytes, before: list[bytes], named: bytes, after: list[bytes], first: int, second: bytes
) -> None:
    def head(length: bytes) -> bytes:
        return b"\r\n".join([start, *before, named + length, *after, b"", b""])

    try:
        answer = read_answer_head(head(b"%d" % first), to_head=False)
    except WireError:
        return
    pattern = pattern_of(head(b"%d" % first), answer)
    told = None if pattern is None else pattern.read(head(second))
    if told is not None:
        assert said(told) == said(read_answer_head(head(second), to_head=False))


def test_usual_answers_have_a_pattern_and_those_without_a_body_have_none() -> None:
    usual = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
    pattern = pattern_of(usual, read_answer_head(usual, to_head=False))
    assert pattern is not None
    told = pattern.read(usual.replace(b": 5\r", b": 1234\r"))
    assert told is not None
    assert (told.content_length, told.framing) == (1234, b"Content-Length: 1234\r\n")
    assert pattern.read(usual.replace(b"a/b", b"a/c")) is None
    for start in (b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 204 No Content", b"HTTP/1.1 103 Early Hints"):
        bodiless = usual.replace(b"HTTP/1.1 200 OK", start)
        assert pattern_of(bodiless, read_answer_head(bodiless, to_head=False)) is None
