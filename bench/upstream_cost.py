"""What choosing a server costs a request: microseconds for ``take`` + ``release``, for each way to balance.

    python bench/upstream_cost.py

The least of many rounds on one core. The look into the socket (a system call, the same for all) is left out.
"""

from __future__ import annotations

import asyncio
import socket
import time
from types import SimpleNamespace
from typing import Any, cast

from keystile.config.model import Server, Upstream
from keystile.relay.groups import group_of
from keystile.wire.upstream import UpstreamConnection

ROUNDS = 300
TAKES = 2_000
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "one server": (1, {}),
    "three, in turn": (3, {}),
    "three, in turn, with a cap": (3, {"max_in_flight": 100}),
    "three, least in flight": (3, {"balance": "least_in_flight"}),
    "three, by key": (3, {"balance": "hash_key"}),
}


class _Transport:
    """As much of a transport as a connection asks for between two requests."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def get_extra_info(self, _: str) -> socket.socket:
        return self._sock

    def set_write_buffer_limits(self, high: int) -> None: ...

    def is_closing(self) -> bool:
        return False


def _cost(servers: int, settings: dict[str, Any], sock: socket.socket) -> float:
    group = group_of(Upstream("api", tuple(Server("127.0.0.1", 9000 + at) for at in range(servers)), **settings), 1.0)
    for member in group.members:
        connection = UpstreamConnection(member.pool)
        connection.connection_made(cast(asyncio.Transport, _Transport(sock)))
        connection._poll = cast(Any, SimpleNamespace(poll=lambda _: []))
        member.pool.put_back(connection)
    exchange: Any = SimpleNamespace(key=SimpleNamespace(id="k"), note=SimpleNamespace(peer=SimpleNamespace(slot=b"")))
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(TAKES):
            cast(UpstreamConnection, group.take(exchange)).release(clean=True)
        least = min(least, (time.process_time() - began) / TAKES * 1e6)
    return least


async def main() -> None:
    """Measure and print."""
    here, there = socket.socketpair()
    with here, there:
        for name, (servers, settings) in WAYS.items():
            print(f"{name}: {_cost(servers, settings, here):.2f} µs")


if __name__ == "__main__":
    asyncio.run(main())
