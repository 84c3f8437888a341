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

from tests.lacking import needs

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server") or "/usr/bin/redis-server"
# At home the rest is tested without; in CI, which installs one, it has to be there.
needs_server = needs(Path(PROGRAM).exists(), "no server (Debian: apt install redis-server)")


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

    def command(self) -> list[str]:
        """What is executed."""
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [*command, "--dir", str(self.folder), *self.options]

    def start(self, *more: str) -> None:
        """Execute it, and wait until it answers something, if only an error."""
        self.process = subprocess.Popen(
            [*self.command(), *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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

    def say(self, *words: str) -> str:
        """What it answers to a command, as far as one line goes."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as opened:
            opened.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in words))
            return opened.recv(65536).decode()

    def follow(self, primary: Server | None) -> None:
        """Be a replica of this one; of none: a primary."""
        self.say("REPLICAOF", *(("NO", "ONE") if primary is None else ("127.0.0.1", str(primary.port))))

    def followers(self) -> int:
        """How many replicas it knows that follow it and are in step."""
        return self.say("INFO", "replication").count("state=online")

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Sentinel(Server):
    """A Sentinel (``--sentinel``) that watches the primary called ``mine``, and finds it down after 500 ms."""

    def __init__(self, folder: Path, primary: Server, quorum: int = 1) -> None:
        self.primary, self.quorum = primary, quorum
        super().__init__(folder, free_port())

    def command(self) -> list[str]:
        file = self.folder / f"sentinel-{self.port}.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor mine 127.0.0.1 {self.primary.port} {self.quorum}",
            "sentinel down-after-milliseconds mine 500",
            "sentinel failover-timeout mine 3000",
        ]
        file.write_text("\n".join(lines) + "\n")
        return [PROGRAM, str(file), "--sentinel"]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Server]:
    """A server while the block lasts."""
    server = Server(folder, free_port(), *options)
    try:
        yield server
    finally:
        server.stop()
