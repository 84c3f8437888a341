"""Two gateways over one PostgreSQL: "hosts" with folders of their own, on this machine, and callers of both.

Law: everything but the callers' connections is done as an operator does it. No test stands here.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from keystile.config.database import shown
from tests.e2e.running import Gateway, settings
from tests.storage.postgres_server import Server, free_port, server

ROUTES = [{"path": "/a", "scope": "View"}]


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the library's name
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def upstream() -> Iterator[int]:
    """A server that answers everything; its port."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield made.server_address[1]
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


@dataclass(slots=True)
class Caller:
    """One kept connection to one host."""

    port: int
    secret: str
    _connection: http.client.HTTPConnection | None = None

    def call(self) -> int:
        """The status of one answer; 0 where there was none."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            self._connection.request("GET", "/a", headers={"X-Api-Key": self.secret})
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0
        return answer.status

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(slots=True)
class Hosts:
    """Both gateways, and their database."""

    database: Server
    name: str
    gateways: list[Gateway] = field(default_factory=list)

    def caller(self, at: int, secret: str) -> Caller:
        """A caller of one of them."""
        return Caller(self.gateways[at].ports[0], secret)

    def status(self, at: int, secret: str) -> int:
        """The status of one request to one of them."""
        caller = self.caller(at, secret)
        try:
            return caller.call()
        finally:
            caller.close()

    def management(self, at: int, path: str) -> str:
        """What management of one of them answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateways[at].management, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def health(self, at: int) -> dict[str, Any]:
        """Its health."""
        found: dict[str, Any] = json.loads(self.management(at, "/health"))
        return found

    def metric(self, at: int, name: str) -> float:
        """One of its metrics."""
        said = self.management(at, "/metrics").splitlines()
        return float(next(line.split()[-1] for line in said if line.split()[0] == f"keystile_{name}"))


@contextmanager
def two_hosts(folder: Path, *, durable: bool = False, workers: int = 2, **more: Any) -> Iterator[Hosts]:
    """Two gateways with an account; ``more`` are settings of the second alone."""
    with ExitStack() as opened:
        port = opened.enter_context(upstream())
        database = opened.enter_context(server(free_port(), durable=durable))
        made = database.database()
        hosts = Hosts(database, dict(made.options)["dbname"])
        for name in ("one", "two"):
            (folder / name).mkdir()
            store = shown(dict(made.options))
            written = settings(port, ROUTES, store=store, workers=workers, access_log=False)
            hosts.gateways.append(Gateway(folder / name, written | (more if name == "two" else {})))
        for gateway in hosts.gateways:
            opened.callback(gateway.close)
            gateway.start()
        for gateway in hosts.gateways:
            gateway.wait_until_ready()
        hosts.gateways[0].create_account()
        yield hosts
        for gateway in hosts.gateways:
            assert gateway.stop() == 0


def until(condition: Any, within: float = 30.0) -> float:
    """Seconds until it holds. Raises TimeoutError."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > within:
            raise TimeoutError
        time.sleep(0.02)
    return time.monotonic() - begun
