from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from bench import open_loop
from bench.open_loop import OpenLoop, Outcome, percentile, schedule

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
Answer = Callable[[socket.socket, int], None]


def at_once(connection: socket.socket, _: int) -> None:
    connection.sendall(ANSWER)


@contextmanager
def server(answer: Answer, size: int = len(REQUEST)) -> Iterator[int]:
    """A port where each request, ``size`` bytes, is answered by ``answer``; it is told how many there were before."""
    count = iter(range(10**9))

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while connection.recv(size, socket.MSG_WAITALL):
                answer(connection, next(count))

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def run(answer: Answer, moments: list[float], connections: int = 4, grace: float = 20.0) -> Outcome:
    with server(answer) as port:
        loop = OpenLoop(port, REQUEST, connections)
        try:
            return loop.run(moments, grace)
        finally:
            loop.close()


def test_every_arrival_is_sent_and_answered() -> None:
    out = run(at_once, schedule(1000, 0.2))
    assert len(out.latencies) == len(schedule(1000, 0.2))
    assert len(out.late) + out.waited == len(out.latencies)
    assert not out.faults
    assert min(out.latencies) > 0
    assert min(out.late) >= 0


def test_a_server_that_stands_still_is_charged_for_all_that_should_have_been_sent_meanwhile() -> None:
    stall = 0.3
    held = threading.Event()

    def stalls(connection: socket.socket, number: int) -> None:
        if number == 0:
            held.wait(stall)
        connection.sendall(ANSWER)

    moments = [0.0, 0.05, 0.1, 0.15]
    out = run(stalls, moments, connections=1)
    assert not out.faults
    assert out.waited == 3
    assert len(out.late) == 1
    # In order, since there is one connection: each waited at least for what was left of the stall.
    for moment, latency in zip(moments, out.latencies, strict=True):
        assert latency >= stall - moment - 0.01


def test_an_answer_may_come_in_pieces() -> None:
    def in_pieces(connection: socket.socket, _: int) -> None:
        for at in range(0, len(ANSWER), 7):
            connection.sendall(ANSWER[at : at + 7])

    out = run(in_pieces, [0.0] * 20)
    assert (len(out.latencies), out.faults) == (20, {})


def test_another_status_is_a_fault() -> None:
    out = run(lambda connection, _: connection.sendall(ANSWER.replace(b"200", b"503")), [0.0] * 5)
    assert out.faults == {"status 503": 5}


def test_a_closed_connection_is_a_fault_and_the_others_go_on() -> None:
    def closes_first(connection: socket.socket, number: int) -> None:
        if number == 0:
            connection.close()
        else:
            connection.sendall(ANSWER)

    out = run(closes_first, [0.0, 0.0, 0.0, 0.01, 0.02], connections=2)
    assert out.faults["closed"] == 1
    assert len(out.latencies) == 4


def test_an_answer_without_its_length_is_a_fault() -> None:
    out = run(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), [0.0])
    assert out.faults == {"no Content-Length": 1}


def test_what_is_not_answered_and_what_was_never_sent_are_told_apart() -> None:
    out = run(lambda *_: None, [0.0] * 5, connections=2, grace=0.2)
    assert out.faults == {"unanswered": 2, "not sent: all connections taken": 3}


def test_many_faults_end_the_run() -> None:
    moments = [0.0] * 1000
    out = run(lambda connection, _: connection.sendall(ANSWER.replace(b"200", b"503")), moments)
    assert out.faults["status 503"] < 1000


def test_connections_are_used_in_turn() -> None:
    seen: list[socket.socket] = []

    def notes(connection: socket.socket, _: int) -> None:
        seen.append(connection)
        connection.sendall(ANSWER)

    run(notes, [0.0] * 40, connections=4)
    assert len({id(each) for each in seen}) == 4


def test_the_schedule_is_the_same_at_every_call_and_has_the_rate() -> None:
    moments = schedule(2000, 10)
    assert moments == schedule(2000, 10)
    assert moments == sorted(moments)
    assert moments[0] > 0
    assert moments[-1] < 10
    assert len(moments) == pytest.approx(20_000, rel=0.03)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_of_nothing_the_percentile_is_nothing() -> None:
    assert percentile([], 0.99) == 0.0


def test_each_connection_is_primed_once_and_the_run_counts_anew() -> None:
    over: list[int] = []

    def notes(connection: socket.socket, number: int) -> None:
        over.append(id(connection))
        at_once(connection, number)

    with server(notes) as port:
        loop = OpenLoop(port, REQUEST, 4)
        primed = loop.prime()
        assert len(set(over)) == len(over) == 4
        out = loop.run([0.0, 0.0, 0.0])
        loop.close()
    assert (len(primed.latencies), len(out.latencies), out.faults) == (4, 3, {})


def test_what_goes_wrong_before_the_schedule_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = tmp_path / "request"
    request.write_bytes(REQUEST)
    with server(lambda connection, _: connection.sendall(ANSWER.replace(b"200", b"401"))) as port:
        words = ("--port", str(port), "--rate", "500", "--seconds", "0.2", "--connections", "4")
        open_loop.main([*words, "--request", str(request)])
    assert json.loads(capsys.readouterr().out.removeprefix("BENCH "))["faults"] == {"status 401": 4}


def test_the_program_prints_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = tmp_path / "request"
    request.write_bytes(REQUEST)
    seen: list[int] = []

    def notes(connection: socket.socket, number: int) -> None:
        seen.append(number)
        at_once(connection, number)

    with server(notes) as port:
        words = ("--port", str(port), "--rate", "500", "--seconds", "0.2", "--connections", "4")
        open_loop.main([*words, "--request", str(request)])
    said = json.loads(capsys.readouterr().out.removeprefix("BENCH "))
    assert said["requests"] == len(schedule(500, 0.2))
    assert len(seen) == said["requests"] + 4, "one over each connection before, which does not count"
    assert said["faults"] == {}
    assert said["p50"] <= said["p99"]
    assert said["pace"]["rate"] == 500
    assert said["pace"]["late_p50"] <= said["pace"]["late_p99"] <= said["pace"]["late_most"]
