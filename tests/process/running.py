"""A gateway of real processes on free ports, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keystile
from keystile.process.control import ask

ROOT = Path(__file__).parent.parent.parent
#: Where the program lies that is under test: src, or the compiled copy of it (make test-compiled).
PROGRAM = Path(keystile.__file__).parent.parent


def until(condition: Callable[[], Any], within: float = 30.0) -> Any:
    """The first true answer; fails when there is none in time."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        if answer := condition():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {within} s")


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Running:
    """``source``: where the program lies, if not where the tests' does."""

    def __init__(
        self, directory: Path, workers: int = 2, parts: str = "small", port: int = 0, source: Path = PROGRAM
    ) -> None:
        self.directory = directory
        self.store = directory / "keystile.db"
        command = [sys.executable, "-m", "tests.process.stand_in", "serve", str(directory), str(workers)]
        self.errors = directory / "errors.txt"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, str(port), parts],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{ROOT}"},
            )
        assert self.process.stdout is not None
        self.out = self.process.stdout
        self.port = 0
        self.management = ""

    def wait_until_ready(self) -> Running:
        first, second = self.out.readline().decode(), self.out.readline().decode()
        assert first.startswith("listening on http://127.0.0.1:"), self.errors.read_text()
        self.port = int(first.rpartition(":")[2])
        self.management = second.removeprefix("management on ").strip()
        return self

    def status(self) -> dict[str, Any]:
        return ask(self.store)

    def pids(self, role: str) -> list[int]:
        return [entry["pid"] for entry in self.status()["processes"] if entry["role"] == role]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    @contextmanager
    def one_at_each(self) -> Iterator[dict[int, socket.socket]]:
        """A connection of each relay, by the relay's pid.

        As many are opened as it takes: while a relay has no processor, the others fetch what waits for it.
        """
        held: dict[int, socket.socket] = {}
        with ExitStack() as opened:

            def is_held() -> bool:
                for connection in [opened.enter_context(self.connect()) for _ in range(4)]:
                    held.setdefault(int(self.say("pid", connection)), connection)
                return held.keys() == set(self.pids("relay"))

            until(is_held)
            yield held

    def say(self, words: str, connection: socket.socket | None = None) -> str:
        if connection is None:
            with self.connect() as fresh:
                return self.say(words, fresh)
        connection.sendall(words.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            more = connection.recv(100)
            if not more:
                raise ConnectionError("ended")
            answer += more
        return answer.decode().strip()

    def terminate(self, within: float = 10.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.out.close()
