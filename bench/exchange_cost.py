"""What one request costs a relay without the kernel: microseconds from its bytes to the last byte of its answer.

    python bench/exchange_cost.py [ROUNDS]

A real gateway with connections to nobody: what is written goes nowhere, and so does what is handed over. The least of
many rounds on one core. To compare two versions, run them in turns (``PYTHONPATH``), more than once.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import uvloop

from keystile.config.model import (
    AccessLog,
    KeyPolicy,
    Limits,
    Listener,
    Management,
    Needs,
    Operation,
    Server,
    Settings,
    Upstream,
)
from keystile.keys import secret as secrets
from keystile.keys.keyring import Keyring, KeyRow
from keystile.limits.slots import SlotTable
from keystile.relay.gateway import Gateway, Rules
from keystile.routing.table import RouteTable
from keystile.wire.upstream import UpstreamConnection

REQUESTS = 500
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class _Transport:
    """As much of a transport as a connection asks for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"socket": self._sock, "peername": ("192.0.2.1", 1)}.get(name, default)

    def set_write_buffer_limits(self, high: int) -> None: ...

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None: ...


def _gateway(secret: str) -> Gateway:
    operations = (Operation(("GET",), "/v4/contacts/{email}", Needs(all_of=frozenset({"View"})), "api", "bench", 0),)
    settings = Settings(
        file=Path("gateway.yaml"),
        listeners=(Listener("127.0.0.1", 0),),
        management=Management(),
        workers=1,
        store=Path("unused.db"),
        keys=KeyPolicy(),
        limits=Limits(max_lag=None),
        trusted_proxies=(),
        health_path=None,
        access_log=AccessLog(),
        upstreams=(Upstream("api", (Server("127.0.0.1", 9),)),),
        operations=operations,
    )
    keyring = Keyring()
    keyring.put(
        KeyRow("key1", "owner@example.com", "bench", "View", "", None, secrets.digest(secret.encode()))
    )
    follower: Any = SimpleNamespace(words=[0], seen=0, unreadable_since=None, load=lambda: None, check=lambda: None)
    slots = SlotTable.create(rows=1024, columns=4)
    slots.claim_column()
    rules = Rules(settings, RouteTable(operations), {})
    channel = SimpleNamespace(send=lambda kind, payload: True)
    return Gateway(rules, lambda _: rules, keyring, follower, slots, channel, lambda *_: None)


async def _cost(rounds: int) -> tuple[float, float]:
    """Of a request, and of handing over what was recorded of it."""
    secret = secrets.generate()
    gateway = _gateway(secret)
    here, there = socket.socketpair()
    with here, there:
        transport = cast(asyncio.Transport, _Transport(here))
        client = gateway.connection(gateway.settings.listeners[0])
        client.connection_made(transport)
        pool = gateway.upstreams["api"].members[0].pool
        server = UpstreamConnection(pool)
        server.connection_made(transport)
        server._poll = cast(Any, SimpleNamespace(poll=lambda _: []))
        pool.put_back(server)
        request = f"GET /v4/contacts/a%40b.c HTTP/1.1\r\nHost: a\r\nX-Api-Key: {secret}\r\n\r\n".encode()
        request_cost = flush_cost = float("inf")
        for _ in range(rounds):
            began = time.process_time()
            for _ in range(REQUESTS):
                client.data_received(request)
                gateway.outbox._write()
                server.data_received(ANSWER)
                gateway.outbox._write()
            ended = time.process_time()
            gateway.recorder.flush(1, 0, False)
            request_cost = min(request_cost, (ended - began) / REQUESTS * 1e6)
            flush_cost = min(flush_cost, (time.process_time() - ended) / REQUESTS * 1e6)
            await asyncio.sleep(0)
        assert gateway.recorder.requests == rounds * REQUESTS
        assert gateway.recorder.statuses[200] == rounds * REQUESTS
    return request_cost, flush_cost


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    request, flush = uvloop.run(_cost(rounds))
    print(f"a request: {request:.2f} µs; handing over, for each: {flush:.2f} µs")


if __name__ == "__main__":
    main()
