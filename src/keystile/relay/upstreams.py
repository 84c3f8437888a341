"""The servers behind the gateway: a pool each, used in turn.

Law: which server is next. What is sent to it is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator

from keystile.config.model import Server, Upstream
from keystile.wire.upstream import Pool


class UpstreamGroup:
    """One upstream of gateway.yaml: its ``name``, the ``host_field`` sent to it, and a pool for each server."""

    def __init__(self, upstream: Upstream, connect_timeout: float) -> None:
        self.name = upstream.name
        self.preserves_host = upstream.host_field == "preserve"
        self.host_field = _host_field(upstream.servers[0])
        self.pools = [Pool(server.host, server.port, connect_timeout) for server in upstream.servers]
        self._next = 0

    def in_turn(self) -> Iterator[Pool]:
        """Every pool once, beginning with the one whose turn it is."""
        pools = self.pools
        first = self._next
        for i in range(len(pools)):
            yield pools[(first + i) % len(pools)]

    def next_pool(self) -> Pool:
        """The pool whose turn it is."""
        pools = self.pools
        if len(pools) == 1:
            return pools[0]
        self._next = (self._next + 1) % len(pools)
        return pools[self._next]


def _host_field(server: Server) -> bytes:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return (host if server.port == 80 else f"{host}:{server.port}").encode("ascii")
