"""Large bodies through the gateway, up and down: do they arrive unchanged, and how much memory does the relay take?

``python -m tests.e2e.large_bodies [--size 1GiB]``

Law: one transfer at a time through a real gateway with one relay. Client and API speak bytes over blocking
sockets, each in a thread. A slow reader first reads nothing until the sender has come to a stand, then some
at 50 MiB/s, then the rest as fast as it comes. The relay's memory is what the kernel says: its peak since the
transfer began (VmHWM, reset through clear_refs), above what it held when it had served nothing.

Meanwhile another client asks again and again for what the relay answers by itself (a 401), a millisecond after each
answer: how long it waits says how long one connection has the relay for itself. It is a process of its own, since
threads of one Python wait for each other.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import product
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random
from typing import Literal

from tests.e2e.running import Gateway, serving, settings

MIB = 1024 * 1024
GROWTH_BOUND = 32 * MIB
PIECE = 256 * 1024
SLOW_BYTES_PER_SECOND = 50 * MIB
SLOW_FOR = 48 * MIB
"""Bytes that a slow reader reads slowly."""
STANDS_AFTER = 0.3
"""Seconds without progress after which a sender is said to have come to a stand."""
RECEIVE_BUFFER = MIB
"""Bytes that the kernel may keep for who receives here: left to itself it takes what ``tcp_rmem`` allows, which may be
half of a body, and then it is not the relay that is measured."""
_pool = Random(7).randbytes(MIB + PIECE)

Way = Literal["up", "down"]
Framing = Literal["Content-Length", "chunked"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of moving a body."""

    way: Way
    framing: Framing
    slow: bool

    def __str__(self) -> str:
        return f"{self.way}, {self.framing}, {'slow' if self.slow else 'fast'} reader"


_ways: tuple[Way, ...] = ("up", "down")
_framings: tuple[Framing, ...] = ("Content-Length", "chunked")
KINDS = [Kind(*kind) for kind in product(_ways, _framings, (False, True))]


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one transfer.

    ``waiting``: bytes that the sender got rid of while nobody read; ``cpu``: seconds of the relay's.
    """

    kind: Kind
    sent: str
    received: str
    seconds: float
    growth: int
    waiting: int
    cpu: float


class Sending:
    """A body of ``size`` bytes, no two pieces of which are alike, as it is sent."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = 0
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def send(self, connection: socket.socket, framing: Framing) -> None:
        memory = memoryview(_pool)
        number = 0
        while self.sent < self.size:
            start = number * 7919 % MIB
            length = min(PIECE - (number % 3), self.size - self.sent)  # chunks of several sizes
            piece = memory[start : start + length]
            self._hash.update(piece)
            if framing == "chunked":
                connection.sendall(b"%x\r\n" % length)
            connection.sendall(piece)
            if framing == "chunked":
                connection.sendall(b"\r\n")
            self.sent += length
            number += 1
        if framing == "chunked":
            connection.sendall(b"0\r\n\r\n")

    def has_come_to_a_stand(self) -> int:
        """Wait until nothing more is taken; how much was sent until then."""
        before, since = -1, time.monotonic()
        while time.monotonic() - since < STANDS_AFTER:
            if self.sent != before:
                before, since = self.sent, time.monotonic()
            time.sleep(0.02)
        return before


class Receiving:
    """A body as it is received; ``slow``: see the module."""

    def __init__(self, sending: Sending, slow: bool) -> None:
        self._sending = sending
        self._slow = slow
        self._hash = hashlib.sha256()
        self.waiting = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def receive(self, reader: BufferedReader, head: bytes) -> None:
        if self._slow:
            self.waiting = self._sending.has_come_to_a_stand()
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
        if length is not None:
            self._take(reader, int(length[1]), 0)
            return
        assert b"\r\ntransfer-encoding: chunked\r\n" in head.lower(), head
        taken = 0
        while size := int(reader.readline(), 16):
            taken = self._take(reader, size, taken)
            assert reader.readline() == b"\r\n"
        assert reader.readline() == b"\r\n"

    def _take(self, reader: BufferedReader, size: int, taken: int) -> int:
        buffer = memoryview(bytearray(PIECE))
        while size:
            count = reader.readinto1(buffer[: min(size, PIECE)])
            if not count:
                raise ConnectionError(f"cut with {size} bytes to come")
            self._hash.update(buffer[:count])
            size -= count
            taken += count
            if self._slow and taken < SLOW_FOR:
                time.sleep(count / SLOW_BYTES_PER_SECOND)
        return taken


class Api:
    """The API behind the gateway, for one connection at a time; what it does next is set by ``expect``."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.port = int(self._listening.getsockname()[1])
        self._work: Callable[[socket.socket, BufferedReader, bytes], None] = lambda *_: None
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    def expect(self, work: Callable[[socket.socket, BufferedReader, bytes], None]) -> None:
        """Accept one connection and have one request on it served by ``work``."""
        self._work = work
        self._failure = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def done(self) -> None:
        """Wait for the request's end; raises what went wrong."""
        assert self._thread is not None
        self._thread.join(60)
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        try:
            connection, _ = self._listening.accept()
            with connection, reading(connection) as reader:
                connection.settimeout(60)
                self._work(connection, reader, read_head(reader))
        except Exception as failure:  # noqa: BLE001 - kept for whoever waits in ``done``
            self._failure = failure

    def close(self) -> None:
        self._listening.close()


def reading(connection: socket.socket) -> BufferedReader:
    return BufferedReader(connection.makefile("rb", buffering=0), PIECE)


def read_head(reader: BufferedReader) -> bytes:
    """A head with the empty line that ends it."""
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    return b"".join([*lines, b"\r\n"])


def framing_field(framing: Framing, size: int) -> bytes:
    return b"Content-Length: %d" % size if framing == "Content-Length" else b"Transfer-Encoding: chunked"


class Bench:
    """A gateway with one relay in front of an ``Api``."""

    def __init__(self, gateway: Gateway, api: Api) -> None:
        self._api = api
        self.port = gateway.ports[0]
        self._key = gateway.create_key("large bodies").encode()
        (self._relay,) = gateway.pids("relay")
        self._untouched = memory_of(self._relay, "VmRSS")

    def move(self, kind: Kind, size: int) -> Moved:
        """Move a body of ``size`` bytes."""
        sending = Sending(size)
        receiving = Receiving(sending, kind.slow)
        Path(f"/proc/{self._relay}/clear_refs").write_text("5")
        used, began = cpu_of(self._relay), time.monotonic()
        if kind.way == "up":
            self._up(kind, sending, receiving)
        else:
            self._down(kind, sending, receiving)
        seconds = time.monotonic() - began
        growth = memory_of(self._relay, "VmHWM") - self._untouched
        cpu = cpu_of(self._relay) - used
        return Moved(kind, sending.digest, receiving.digest, seconds, growth, receiving.waiting, cpu)

    def _up(self, kind: Kind, sending: Sending, receiving: Receiving) -> None:
        def work(connection: socket.socket, reader: BufferedReader, head: bytes) -> None:
            receiving.receive(reader, head)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")

        self._api.expect(work)
        with self._client(b"POST", framing_field(kind.framing, sending.size)) as (connection, reader):
            sending.send(connection, kind.framing)
            head = read_head(reader)
            assert head.startswith(b"HTTP/1.1 200 "), head
            assert reader.read(4) == b"done"
        self._api.done()

    def _down(self, kind: Kind, sending: Sending, receiving: Receiving) -> None:
        def work(connection: socket.socket, reader: BufferedReader, head: bytes) -> None:
            field = framing_field(kind.framing, sending.size)
            connection.sendall(b"HTTP/1.1 200 OK\r\n%b\r\nConnection: close\r\n\r\n" % field)
            sending.send(connection, kind.framing)

        self._api.expect(work)
        with self._client(b"GET") as (_, reader):
            head = read_head(reader)
            assert head.startswith(b"HTTP/1.1 200 "), head
            receiving.receive(reader, head)
        self._api.done()

    @contextmanager
    def _client(self, method: bytes, *fields: bytes) -> Iterator[tuple[socket.socket, BufferedReader]]:
        """A connection on which a request's head has been sent."""
        lines = [method + b" /bodies HTTP/1.1", b"Host: localhost", b"X-Api-Key: " + self._key, *fields, b"", b""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            connection.sendall(b"\r\n".join(lines))
            with reading(connection) as reader:
                yield connection, reader


def memory_of(pid: int, name: str) -> int:
    """One of the kernel's figures of a process's memory, in bytes."""
    (kibibytes,) = re.findall(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kibibytes) * 1024


def cpu_of(pid: int) -> float:
    """Seconds that a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(port: int, over: Event, told: Connection) -> None:
    """Ask until it is over, then tell how long each answer took, in seconds. Told first: that it begins."""
    took = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        told.send([])
        while not over.wait(0.001):
            began = time.monotonic()
            connection.sendall(b"GET /bodies HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
            took.append(time.monotonic() - began)
    told.send(took)


@contextmanager
def asking(port: int) -> Iterator[list[float]]:
    """Somebody who asks beside: the list has the seconds that each answer took, in order of size, once it is over."""
    spawning = multiprocessing.get_context("spawn")
    over = spawning.Event()
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=ask, args=(port, over, theirs))
    process.start()
    ours.recv()
    took: list[float] = []
    try:
        yield took
    finally:
        over.set()
        if ours.poll(60):
            took.extend(sorted(ours.recv()))
        process.join()


@contextmanager
def bench(directory: Path) -> Iterator[Bench]:
    """A bench in this directory."""
    api = Api()
    routes = [{"path": "/bodies", "methods": ["GET", "POST"], "key_only": True}]
    try:
        with serving(directory, settings(api.port, routes)) as gateway:
            yield Bench(gateway, api)
    finally:
        api.close()


def size_of(text: str) -> int:
    """Bytes of a size such as ``64MiB`` or ``1GiB``."""
    match = re.fullmatch(r"(\d+)(MiB|GiB)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 64MiB or 1GiB")
    return int(match[1]) * (MIB if match[2] == "MiB" else 1024 * MIB)


def main() -> int:
    """Move a body each way and print what became of it; 1 if one was changed or took too much memory."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.large_bodies", description=__doc__)
    parser.add_argument("--size", type=size_of, default=size_of("1GiB"), help="of each body (default: 1GiB)")
    size = parser.parse_args().size
    good = True
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder)) as on:
        asked = "asked beside, median and 99 %"
        print(f"{'':34} {'SHA-256':8} {'MiB/s':>6} {'CPU':>7} {'peak growth':>12} {asked:>30} {'taken unread':>13}")
        for kind in KINDS:
            with asking(on.port) as took:
                moved = on.move(kind, size)
            same = moved.sent == moved.received
            good = good and same and moved.growth < GROWTH_BOUND
            waiting = f"{moved.waiting / MIB:.1f} MiB" if kind.slow else ""
            beside = " and ".join(f"{1000 * took[int(len(took) * part)]:.2f}" for part in (0.5, 0.99)) + " ms"
            print(
                f"{kind!s:34} {'same' if same else 'CHANGED':8} {size / MIB / moved.seconds:6.0f} {moved.cpu:5.2f} s "
                f"{moved.growth / MIB:8.1f} MiB {beside:>30} {waiting:>13}",
                flush=True,
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
