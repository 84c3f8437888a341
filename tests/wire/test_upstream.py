"""A server's connection: what is doubtful never serves anybody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystile.wire.upstream import MAX_ANSWER_HEAD, MAX_INTERIM
from tests.wire.splitting import in_pieces, splits
from tests.wire.transports import KeptAnswer, carried

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
UNTIL_END = b"HTTP/1.1 200 OK\r\n\r\nhello"
HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"

Outcome = tuple[str, list[int], int, bytes, bool]


@pytest.fixture(scope="module")
def silent_socket() -> Iterator[socket.socket]:
    """A socket in which nothing lies."""
    one, other = socket.socketpair()
    with one, other:
        yield one


def outcome(sock: socket.socket, pieces: list[bytes], method: bytes, ends: bool) -> Outcome:
    """How the answer ended, its interims, status and body, and whether the connection may be used again."""
    connection, transport, answer, pool = carried(sock, method)
    for piece in pieces:
        if not transport.ended:
            connection.data_received(piece)
    usable = bool(pool.given_back) and connection.silent() and not transport.ended
    if ends and not transport.ended:
        connection.eof_received()
        connection.connection_lost(None)
    assert answer.outcome != "open" or not ends
    return answer.outcome, answer.interims, answer.head.status if answer.head else 0, answer.received, usable


_fragments = st.sampled_from(
    [LENGTH, CHUNKS, UNTIL_END, HINTS, b"HTTP/1.1 ", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 N\r\n",
     b"HTTP/1.1 304 N\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 S\r\n\r\n", b"\r\n", b"\r", b"\n",
     b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"hello", b"5\r\n",
     b"0\r\n\r\n", b"A: b\r\n", b"\x00", b" x\r\n"]
)  # fmt: skip
_streams = st.lists(st.one_of(_fragments, st.binary(max_size=6)), max_size=10).map(b"".join)


@given(_streams, splits, st.sampled_from([b"GET", b"HEAD"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_mean_the_same_in_every_split(
    silent_socket: socket.socket, stream: bytes, cuts: list[int], method: bytes
) -> None:
    whole = outcome(silent_socket, [stream], method, ends=True)
    split = outcome(silent_socket, in_pieces(stream, cuts), method, ends=True)
    if whole[0] == split[0] == "broken":  # how much of a broken answer was passed on is a matter of time
        assert split[4] is whole[4] is False
    else:
        assert split == whole


@pytest.mark.parametrize(
    ("stream", "method", "body"),
    [
        (LENGTH, b"GET", b"hello"),
        (CHUNKS, b"GET", b"hello"),
        (HINTS * 3 + LENGTH, b"GET", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HEAD", b""),
        (b"HTTP/1.1 204 N\r\n\r\n", b"GET", b""),
        (b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", b"GET", b""),
    ],
)
def test_a_clean_answer_gives_the_connection_back(
    silent_socket: socket.socket, stream: bytes, method: bytes, body: bytes
) -> None:
    for pieces in ([stream], [bytes([byte]) for byte in stream]):
        outcome_, _, _, received, usable = outcome(silent_socket, pieces, method, ends=False)
        assert (outcome_, received, usable) == ("whole", body, True)
        # One byte more, with it or behind it, and it serves nobody else.
        for more in ([*pieces, b"x"], [*pieces[:-1], pieces[-1] + b"x"]):
            outcome_, _, _, received, usable = outcome(silent_socket, more, method, ends=False)
            assert (outcome_, received, usable) == ("whole", body, False)


def test_an_answer_that_lasts_until_the_end_needs_a_clean_end(silent_socket: socket.socket) -> None:
    assert outcome(silent_socket, [UNTIL_END], b"GET", ends=True)[0] == "whole"
    connection, transport, answer, pool = carried(silent_socket)
    connection.data_received(UNTIL_END)
    connection.connection_lost(ConnectionResetError())
    assert (answer.outcome, pool.given_back, transport.how()) == ("broken", [], "aborted")


@pytest.mark.parametrize("size", range(len(LENGTH)))
def test_a_shortened_answer_is_broken(silent_socket: socket.socket, size: int) -> None:
    assert outcome(silent_socket, [LENGTH[:size]], b"GET", ends=True)[0] == "broken"


def test_interim_answers_are_bounded(silent_socket: socket.socket) -> None:
    most = outcome(silent_socket, [HINTS * MAX_INTERIM + LENGTH], b"GET", ends=False)
    assert most[:3] == ("whole", [103] * MAX_INTERIM, 200)
    assert outcome(silent_socket, [HINTS * (MAX_INTERIM + 1) + LENGTH], b"GET", ends=False)[0] == "broken"


def test_interim_answers_are_counted_for_each_answer(silent_socket: socket.socket) -> None:
    connection, _, answer, _ = carried(silent_socket)
    for _ in range(3):
        connection.data_received(HINTS * MAX_INTERIM + LENGTH)
        assert answer.outcome == "whole"
        connection.carried = answer = KeptAnswer(connection)


@pytest.mark.parametrize("ended", [b"\r\n\r\n", b""])
def test_a_head_is_bounded(silent_socket: socket.socket, ended: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
    too_long = head + b"x" * MAX_ANSWER_HEAD + ended
    for cuts in ([], [30000, 60000]):
        assert outcome(silent_socket, in_pieces(too_long, cuts), b"GET", ends=False)[0] == "broken"
    fits = head + b"x" * (MAX_ANSWER_HEAD - len(head) - 4) + b"\r\n\r\n"
    assert outcome(silent_socket, [fits], b"GET", ends=False)[0] == "whole"


def test_a_head_is_read_for_the_method_that_asked(silent_socket: socket.socket) -> None:
    """The same bytes again, now to a GET: the memory of the last head must not say that no body comes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    connection, _, answer, pool = carried(silent_socket, b"HEAD")
    connection.data_received(head)
    assert answer.outcome == "whole"
    for method, outcome_ in ((b"GET", "open"), (b"HEAD", "whole")):
        connection.carried = answer = KeptAnswer(connection, method)
        connection.data_received(head)
        assert answer.outcome == outcome_
        if outcome_ == "open":
            connection.data_received(b"hello")
    assert len(pool.given_back) == 3


def test_answers_of_any_length_are_told_apart_on_one_connection(silent_socket: socket.socket) -> None:
    """Heads that differ in a length alone are not parsed again; those that differ in more are."""
    connection, _, answer, pool = carried(silent_socket)
    usual, none, head = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HEAD"
    told = [(usual, 5), (usual, 0), (usual, 70), (none, 70), (none, 5), (usual, 1200), (head, 7), (usual, 7)]
    for start, length in told:
        method, start = (b"HEAD", usual) if start is head else (b"GET", start)
        body = b"x" * length if start is usual and method == b"GET" else b""
        connection.carried = answer = KeptAnswer(connection, method)
        connection.data_received(b"%bContent-Length: %d\r\nX: y\r\n\r\n%b" % (start, length, body))
        assert (answer.outcome, answer.received) == ("whole", body)
        assert answer.head is not None
        assert answer.head.framing == b"Content-Length: %d\r\n" % length
    assert len(pool.given_back) == len(told)


def test_bytes_that_nobody_asked_for_end_the_connection(silent_socket: socket.socket) -> None:
    connection, transport, _, _ = carried(silent_socket)
    connection.data_received(LENGTH)
    assert transport.how() == ""
    connection.data_received(LENGTH)
    assert transport.how() == "aborted"
    assert not connection.silent()


def test_a_connection_with_unsent_bytes_is_not_given_back(silent_socket: socket.socket) -> None:
    connection, transport, answer, pool = carried(silent_socket)
    connection.pause_writing()
    connection.data_received(LENGTH)
    assert (answer.outcome, pool.given_back, transport.how()) == ("whole", [], "aborted")


def test_a_connection_whose_request_is_not_over_is_not_given_back(silent_socket: socket.socket) -> None:
    connection, transport, _, pool = carried(silent_socket)
    connection.data_received(LENGTH[:-1])
    connection.release(clean=True)
    assert (pool.given_back, transport.how()) == ([], "aborted")


def test_a_connection_that_was_paused_reads_on_when_it_is_given_back(silent_socket: socket.socket) -> None:
    connection, transport, answer, pool = carried(silent_socket)
    connection.data_received(LENGTH[:-1])
    connection.pause()
    assert not transport.reading
    connection.data_received(LENGTH[-1:])
    assert (answer.outcome, pool.given_back, transport.reading) == ("whole", [connection], True)
