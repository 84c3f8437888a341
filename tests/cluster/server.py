"""A server of one's own for a test: redis-server (or valkey-server) on a free port of this machine.

Law: it starts, stops and pauses the program; where the machine has none, tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lacking import IN_CI

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server") or "/usr/bin/redis-server"
# At home the rest is tested without; in CI, which installs one, it has to be there.
needs_server = pytest.mark.skipif(
    not Path(PROGRAM).exists() and not IN_CI, reason="no server (Debian: apt install redis-server)"
)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class Server:
    """The program on ``port``, with nothing on disk."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.folder, self.port, self.options = folder, port, options
        self.start()

    def start(self, *more: str) -> None:
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.folder), *self.options, *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 0.2) as opened:
                    opened.sendall(b"PING\r\n")
                    if opened.recv(100):
                        return
            except OSError:
                assert time.monotonic() < end, "the server does not start"
                time.sleep(0.02)

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Server]:
    """A server while the block lasts."""
    server = Server(folder, free_port(), *options)
    try:
        yield server
    finally:
        server.stop()
