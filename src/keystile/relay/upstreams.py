"""The servers behind the gateway: a pool each, used in turn; and its own management process.

Law: which server is next. What is sent to it is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from keystile.config.model import MANAGEMENT_UPSTREAM, Server, Upstream
from keystile.wire import unix
from keystile.wire.upstream import Pool, UnixPool
from keystile.wire.upstream_tls import ClientContext, TlsPool


class UpstreamGroup:
    """What answers under one name: the ``host_field`` sent to it, and a pool for each server.

    ``is_management``: it is the gateway's own management process, which is told more of who calls. ``made_of``:
    what it was made of.
    """

    is_management = False
    made_of: object = None

    def __init__(self, name: str, pools: list[Pool], host_field: bytes, *, preserves_host: bool = False) -> None:
        self.name = name
        self.pools = pools
        self.host_field = host_field
        self.preserves_host = preserves_host
        self._next = 0

    @classmethod
    def of(cls, upstream: Upstream, connect_timeout: float, context: ClientContext | None = None) -> UpstreamGroup:
        """One upstream of gateway.yaml; ``context``: where its servers are https."""
        name = None if upstream.tls is None else upstream.tls.server_name
        pools = [_pool(server, connect_timeout, context, name) for server in upstream.servers]
        preserves = upstream.host_field == "preserve"
        return cls(upstream.name, pools, _host_field(upstream.servers[0]), preserves_host=preserves)

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


class ManagementGroup(UpstreamGroup):
    """The management process of the gateway on this ``store``, behind its Unix socket."""

    is_management = True

    def __init__(self, store: Path, connect_timeout: float) -> None:
        pool = UnixPool(unix.beside(store, MANAGEMENT_UPSTREAM), connect_timeout)
        super().__init__(MANAGEMENT_UPSTREAM, [pool], MANAGEMENT_UPSTREAM.encode("ascii"))


def _pool(server: Server, connect_timeout: float, context: ClientContext | None, name: str | None) -> Pool:
    if not server.tls:
        return Pool(server.host, server.port, connect_timeout)
    assert context is not None
    return TlsPool(server.host, server.port, connect_timeout, context, name)


def _host_field(server: Server) -> bytes:
    host = f"[{server.host}]" if ":" in server.host else server.host
    usual = 443 if server.tls else 80
    return (host if server.port == usual else f"{host}:{server.port}").encode("ascii")
