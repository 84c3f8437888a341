"""Idle TLS connections: what each costs the relay in memory, new, after a request, and after a large upload.

Law: as ``idle.py``, whose rows these are. Clients are blocking sockets: asyncio would need a quarter of a MiB for each.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import tempfile
import time
from pathlib import Path

from aiohttp import web
from bench.processes import free_port

from tests.e2e.api import answering
from tests.soak.answers import LENGTH
from tests.soak.certificates import write
from tests.soak.gateway import RealGateway, fill
from tests.soak.idle import SPARE, Idle, memory_of, raise_descriptors

GOAL = 25.0
"""KiB of relay memory for each connection, at most."""
AFTERWARDS = 50.0
"""The same once a large body has come: what OpenSSL's buffers grew to stays (``wire/tls_transport.py``)."""
UPLOAD = 60_000
"""Bytes of the large upload."""


async def idle_tls(connections: int, directory: Path) -> list[Idle]:
    """Open so many TLS connections to one relay, and look at its memory in each state."""
    raise_descriptors(connections + SPARE)
    write(directory)
    limits = (f"connections: {connections + SPARE}", "head_timeout: 10m", "idle_timeout: 10m")
    with answering(_read_and_answer) as upstream:
        [key] = await fill(directory / "keystile.db", 1)
        gateway = RealGateway(directory, upstream, 1, limits=limits)
        text = gateway.file.read_text(encoding="utf-8")
        port = free_port()
        tls = f'{{address: "127.0.0.1:{port}", tls: {{certificate: cert.pem, private_key: key.pem}}}}'
        gateway.file.write_text(text.replace('[{address: "127.0.0.1:0"}]', f'[{{address: "127.0.0.1:0"}}, {tls}]', 1))
        with gateway:
            [relay] = gateway.pids()
            return await asyncio.to_thread(_work, relay, port, key, connections)


async def _read_and_answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="fine")


def _work(relay: int, port: int, key: bytes, number: int) -> list[Idle]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    small = b"GET /soak/now HTTP/1.1\r\nHost: x\r\nX-Api-Key: %b\r\n\r\n" % key
    large = b"POST /soak/now HTTP/1.1\r\nHost: x\r\nX-Api-Key: %b\r\nContent-Length: %d\r\n\r\n" % (key, UPLOAD)
    for _ in range(50):  # what the first requests make a process load is no connection's cost
        with _connect(context, port, 199) as warm:
            assert _ask(warm, small)
            assert _ask(warm, large + bytes(UPLOAD))
    time.sleep(2)
    before, began = memory_of(relay), time.monotonic()
    clients = [_connect(context, port, one) for one in range(number)]
    found = [_look("TLS, no request sent", number, relay, before, 0, began)]
    for state, sent in (("after a request", small), (f"after {UPLOAD:,} bytes up", large + bytes(UPLOAD))):
        began = time.monotonic()
        unserved = sum(not _ask(client, sent) for client in clients)
        goal = GOAL if sent is small else AFTERWARDS
        found.append(_look(f"TLS, {state}", number, relay, before, unserved, began, goal))
    for client in clients:
        client.close()
    return found


def _look(state: str, number: int, relay: int, before: int, unserved: int, began: float, goal: float = GOAL) -> Idle:
    seconds = time.monotonic() - began
    time.sleep(2)
    return Idle(state, number, before, memory_of(relay), unserved, seconds, goal)


def _connect(context: ssl.SSLContext, port: int, number: int) -> ssl.SSLSocket:
    source = f"127.1.{number // 200 % 250}.{number % 200 + 1}"
    plain = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as clients of HTTP do
    return context.wrap_socket(plain, server_hostname="localhost")


def _ask(client: ssl.SSLSocket, sent: bytes) -> bool:
    client.sendall(sent)
    heard = b""
    while b"\r\n\r\n" not in heard:
        more = client.recv(65536)
        if not more:
            return False
        heard += more
    head, _, body = heard.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0:
        left -= len(client.recv(65536)) or left
    return re.match(rb"HTTP/1\.1 200 ", head) is not None


async def main(connections: int) -> tuple[list[dict[str, object]], list[str]]:
    """Rows for the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await idle_tls(connections, Path(directory))
    return [each.row() for each in found], [fault for each in found for fault in each.faults()]
