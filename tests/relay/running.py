"""A relay inside the test's own loop, on a free port, with keys that were never stored.

Everything is real but the store: the keyring is filled by hand.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

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
from keystile.relay.gateway import Gateway
from keystile.routing.table import RouteTable
from keystile.storage.follow import KeyFollower
from keystile.wire.tls import server_context
from tests.wire.peers import RawClient

OPERATIONS = (
    Operation(("GET",), "/v4/contacts", Needs(all_of=frozenset({"ViewContacts"})), "api", "test", 0),
    Operation(("POST",), "/v4/contacts", Needs(all_of=frozenset({"ModifyContacts"})), "api", "test", 1),
    Operation(("GET",), "/v4/files/{name}", Needs(all_of=frozenset({"ViewFiles", "Export"})), "api", "test", 2),
    Operation((), "/any/*", Needs(), "api", "test", 3),
    Operation((), "/open", Needs(public=True), "api", "test", 4),
)


class StoredNowhere:
    """Stands where the store's follower is: the bell never rings."""

    def __init__(self) -> None:
        self.words = [0]
        self.seen = 0
        self.unreadable_since: float | None = None

    def load(self) -> None: ...

    def check(self) -> None: ...

    def catch_up(self) -> bool:
        self.seen = self.words[0]
        return True


class KeptMessages:
    """A channel to nobody."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []

    def send(self, kind: bytes, payload: bytes) -> bool:
        self.messages.append((kind, payload))
        return True

    def of(self, kind: bytes) -> bytes:
        return b"".join(payload for name, payload in self.messages if name == kind)


class Running:
    """A relay that serves: ``port``, ``gateway``, its ``channel``, and ways to make keys."""

    def __init__(self, gateway: Gateway, port: int, channel: KeptMessages, keyring: Keyring) -> None:
        self.gateway = gateway
        self.port = port
        self.channel = channel
        self.keyring = keyring
        self._made = 0

    def key(self, *scopes: str, networks: Sequence[str] = (), expires: float | None = None) -> bytes:
        """A new key's secret."""
        secret = secrets.generate()
        self._made += 1
        self.add(secret.encode(), scopes, networks, expires)
        return secret.encode()

    def add(
        self,
        secret: bytes,
        scopes: Sequence[str] = (),
        networks: Sequence[str] = (),
        expires: float | None = None,
        imported: bool = False,
    ) -> None:
        self.keyring.put(
            KeyRow(
                **dict(
                    id=f"key{self._made}",
                    account="owner@example.com",
                    name=f"name{self._made}",
                    digest=secrets.digest(secret),
                    scopes=" ".join(scopes),
                    networks=" ".join(networks),
                    expires=expires,
                    imported=imported,
                )
            )
        )


def settings(upstream_port: int, **changes: Any) -> Settings:
    limits = Limits(**changes.pop("limits", {}))
    base = Settings(
        file=Path("gateway.yaml"),
        listeners=(Listener("127.0.0.1", 0),),
        management=Management(),
        workers=1,
        store=Path("unused.db"),
        keys=KeyPolicy(),
        limits=limits,
        trusted_proxies=(),
        health_path=None,
        access_log=AccessLog(),
        upstreams=(Upstream("api", (Server("127.0.0.1", upstream_port),)),),
        operations=OPERATIONS,
    )
    return dataclasses.replace(base, **changes)


@asynccontextmanager
async def running(upstream_port: int, **changes: Any) -> AsyncIterator[Running]:
    """A relay in front of the upstream at ``upstream_port``; ``changes`` are fields of ``Settings``, ``limits`` a dict."""
    wanted = settings(upstream_port, **changes)
    keyring = Keyring()
    channel = KeptMessages()
    slots = SlotTable.create(rows=1024, columns=4)
    slots.claim_column()
    gateway = Gateway(
        wanted,
        RouteTable(wanted.operations),
        keyring,
        cast(KeyFollower, StoredNowhere()),
        slots,
        channel,
        lambda values: None,
        lambda tls: server_context(tls.certificate, tls.private_key, tls.minimum_version),
    )
    await gateway.start()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    sock.setblocking(False)
    await gateway.listen(sock, wanted.listeners[0])
    try:
        yield Running(gateway, sock.getsockname()[1], channel, keyring)
    finally:
        RawClient.close_all()
        gateway.close()
        await asyncio.sleep(0.02)
        slots.close()


async def until(true: Any, seconds: float = 5.0) -> None:
    """Wait until ``true()`` holds; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.01)


__all__ = [
    "OPERATIONS",
    "KeptMessages",
    "Running",
    "SimpleNamespace",
    "StoredNowhere",
    "running",
    "settings",
    "until",
]
