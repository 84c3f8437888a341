"""An open loop: requests leave by a schedule, whatever the answers do, and latency counts from the scheduled moment.

    python bench/open_loop.py --port 8080 --rate 2000 --seconds 4 --connections 64 --request FILE

So a gateway that stands still for 50 ms is charged for every request that should have been sent meanwhile (no
coordinated omission). What the loop itself is late by is measured beside it: it has to be small against the latencies.

Law: a program of its own on the standard library alone, for a core that it shares with the backend. Sleeping is left to
select() with the kernel's slack set to nothing: epoll's own time-out, and with it asyncio, uvloop and tokio, knows
whole milliseconds only, which is more than most gateways add. Arrivals are independent of one another (exponential
gaps) from a fixed seed, so every gateway has the same ones. Requests go round over all connections; one that finds
none free waits, and its latency counts the wait. Clock readings are seconds, what is told is microseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import random
import re
import select
import socket
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE = 2.0
"""Seconds after the last arrival in which answers still count; what is not there by then is a fault."""
MANY_FAULTS = 100
"""So many, and the run is over: it is void anyway."""
SPIN = 50e-6
"""Seconds before its moment at which a request is no longer slept for: waking takes some 30 µs on an idle core."""
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)\r\n", re.IGNORECASE)
clock = time.perf_counter


@dataclass(slots=True)
class Outcome:
    """What one run saw. ``latencies`` and ``late`` in seconds, unsorted.

    ``late``: by how much each request left after its moment although a connection was free. ``waited``: how many found
    none free. ``faults``: what went wrong, how often.
    """

    latencies: list[float]
    late: list[float]
    waited: int
    faults: Counter[str]
    seconds: float


@dataclass(slots=True, eq=False)
class Connection:
    """A kept-alive connection with at most one request in flight; ``due``: its moment by the schedule."""

    socket: socket.socket
    due: float = 0.0
    received: bytes = b""


def schedule(rate: float, seconds: float, seed: int = 7) -> list[float]:
    """Moments of arrival in seconds from the beginning: ``rate`` a second on average, the same ones at every call."""
    dice = random.Random(seed)
    moments, at = [], dice.expovariate(rate)
    while at < seconds:
        moments.append(at)
        at += dice.expovariate(rate)
    return moments


class OpenLoop:
    """Sends one request again and again by a schedule over connections that stay."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self._request = request
        self._poll = select.epoll()
        self._idle: deque[Connection] = deque()
        self._by_number: dict[int, Connection] = {}
        self._out = Outcome([], [], 0, Counter(), 0.0)
        self._lost = 0  # answers that cannot come any more
        self._connections = connections
        for _ in range(connections):
            self._connect(port)

    def _connect(self, port: int) -> None:
        made = socket.create_connection(("127.0.0.1", port), timeout=5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        self._idle.append(Connection(made))
        self._by_number[made.fileno()] = self._idle[-1]
        self._poll.register(made, select.EPOLLIN)

    def prime(self) -> Outcome:
        """One request over each connection: what a first one costs is no part of the latency of kept-alive ones."""
        return self.run([0.0] * self._connections)

    def run(self, moments: Sequence[float], grace: float = GRACE) -> Outcome:
        """Send at every one of ``moments``, then wait for the answers that are still out, ``grace`` seconds at most."""
        self._lost, self._out = 0, Outcome([], [], 0, Counter(), 0.0)
        out, idle, count = self._out, self._idle, len(moments)
        at = blocked = 0  # the next arrival; the first that has not found every connection taken
        begin = clock()
        give_up = begin + (moments[-1] if moments else 0.0) + grace
        while len(out.latencies) + self._lost < count and sum(out.faults.values()) < MANY_FAULTS:
            now = clock()
            while at < count and idle and begin + moments[at] <= now:
                self._send(begin + moments[at], at < blocked)
                at += 1
                now = clock()
            if now > give_up or not self._by_number:
                break
            all_taken = not idle
            until = give_up if all_taken or at == count else begin + moments[at]
            if (rest := until - clock() - SPIN) > 0:
                select.select((self._poll,), (), (), rest)
            if all_taken:
                blocked = bisect_right(moments, clock() - begin)
            for number, _ in self._poll.poll(0):
                self._receive(self._by_number[number])
        out.seconds = clock() - begin
        self._account(count, at)
        return out

    def close(self) -> None:
        """Close every connection."""
        for connection in self._by_number.values():
            connection.socket.close()
        self._poll.close()

    def _send(self, due: float, waited: bool) -> None:
        connection = self._idle.popleft()
        connection.due = due
        if waited:
            self._out.waited += 1
        else:
            self._out.late.append(clock() - due)
        try:
            sent = connection.socket.send(self._request)
        except OSError:
            sent = 0
        if sent != len(self._request):
            self._lose(connection, "write")

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection, "closed")
            return
        data = connection.received = connection.received + data if connection.received else data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return
        length = LENGTH.search(data, 0, head + 2)
        if length is None:
            self._lose(connection, "no Content-Length")
        elif len(data) >= head + 4 + int(length[1]):
            self._answered(connection, data[9:12])

    def _answered(self, connection: Connection, status: bytes) -> None:
        self._out.latencies.append(clock() - connection.due)
        if status != b"200":
            self._out.faults[f"status {status.decode('latin-1')}"] += 1
        connection.received = b""
        self._idle.append(connection)

    def _lose(self, connection: Connection, why: str) -> None:
        self._out.faults[why] += 1
        number = connection.socket.fileno()
        self._poll.unregister(number)
        del self._by_number[number]
        connection.socket.close()
        if connection in self._idle:
            self._idle.remove(connection)
        else:  # with the answer to a request
            self._lost += 1

    def _account(self, count: int, sent: int) -> None:
        out = self._out
        if unsent := count - sent:
            out.faults["not sent: all connections taken"] += unsent
        if unanswered := sent - len(out.latencies) - self._lost:
            out.faults["unanswered"] += unanswered


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that so large a share of them does not exceed (nearest rank); 0.0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def said(out: Outcome, rate: float) -> dict[str, object]:
    """``out`` as the bench reads it."""
    return {
        "requests": len(out.latencies),
        "microseconds": out.seconds * 1e6,
        "p50": percentile(out.latencies, 0.5) * 1e6,
        "p99": percentile(out.latencies, 0.99) * 1e6,
        "faults": out.faults,
        "pace": {
            "rate": rate,
            "late_p50": percentile(out.late, 0.5) * 1e6,
            "late_p99": percentile(out.late, 0.99) * 1e6,
            "late_most": max(out.late, default=0.0) * 1e6,
            "waited": out.waited,
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run once and print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--request", type=Path, required=True, help="a file with the bytes of the request")
    chosen = parser.parse_args(arguments)
    with contextlib.suppress(OSError):  # not everywhere may a process say so; its lateness then tells
        Path("/proc/self/timerslack_ns").write_text("1")
    loop = OpenLoop(chosen.port, chosen.request.read_bytes(), chosen.connections)
    moments = schedule(chosen.rate, chosen.seconds)
    gc.disable()  # nothing here makes cycles, and a collection would be lateness
    try:
        primed = loop.prime()
        print("BENCH " + json.dumps(said(primed if primed.faults else loop.run(moments), chosen.rate)))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
