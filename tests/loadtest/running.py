"""A server of a few lines for tests of the load tester: it answers with bytes that the test chooses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from keystile.loadtest.plan import Target


@dataclass
class Scripted:
    """What each connection's requests get, in turn, and what came; None closes the connection."""

    answers: list[bytes | None]
    port: int = 0
    received: list[bytes] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    over: bool = False

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", self.port, "localhost")


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[Scripted]:
    """Serve on a free port while the block lasts."""
    script = Scripted(list(answers))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        script.port = listener.getsockname()[1]
        thread = threading.Thread(target=_serve, args=(listener, script), daemon=True)
        thread.start()
        try:
            yield script
        finally:
            script.over = True
            for each in (listener, *script.connections):
                with suppress(OSError):  # it may have ended by itself
                    each.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def _serve(listener: socket.socket, script: Scripted) -> None:
    with suppress(OSError):
        while not script.over:
            connection, caller = listener.accept()
            script.callers.append(caller[0])
            script.connections.append(connection)
            with connection, suppress(OSError):
                _serve_one(connection, script)


def _serve_one(connection: socket.socket, script: Scripted) -> None:
    connection.settimeout(30)
    while script.answers:
        request = _read(connection)
        if not request:
            return
        script.received.append(request)
        answer = script.answers.pop(0)
        if answer is None:
            return
        connection.sendall(answer)


def _read(connection: socket.socket) -> bytes:
    """One request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
