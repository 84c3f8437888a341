"""A relay inside the test's own loop, on a free port, with keys that were never stored.

Everything is real but the store: the keyring is filled by hand.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

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
from keystile.limits.lease import LeasedSlots
from keystile.limits.slots import SlotTable
from keystile.relay import end, exchange, search, waiting
from keystile.relay.counters import COUNTERS
from keystile.relay.exchange import Exchange
from keystile.relay.gateway import Gateway, Rules
from keystile.relay.reaching import reaching_of
from keystile.relay.terms import terms_of
from keystile.routing.table import RouteTable
from keystile.storage.follow import KeyFollower
from tests.wire.peers import RawClient

OPERATIONS = (
    Operation(("GET",), "/v4/contacts", Needs(all_of=frozenset({"ViewContacts"})), "api", "test", 0),
    Operation(("POST",), "/v4/contacts", Needs(all_of=frozenset({"ModifyContacts"})), "api", "test", 1),
    Operation(("GET",), "/v4/files/{name}", Needs(all_of=frozenset({"ViewFiles", "Export"})), "api", "test", 2),
    Operation((), "/any/*", Needs(), "api", "test", 3),
    Operation((), "/open", Needs(public=True), "api", "test", 4),
)


class Answer:
    """What came back: ``status``, ``head``, ``body``."""

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    def fields(self, name: bytes) -> list[bytes]:
        """The values of every line of this name."""
        return re.findall(rb"(?i)\r\n%b: ([^\r]*)" % re.escape(name), self.head)

    def field(self, name: bytes) -> bytes | None:
        """The value of the one line of this name."""
        values = self.fields(name)
        assert len(values) <= 1
        return values[0] if values else None

    @property
    def slug(self) -> str:
        """Which refusal it is; empty where it is none."""
        if self.field(b"Content-Type") != b"application/problem+json":
            return ""
        text = json.loads(self.body)["type"]
        assert text.startswith("urn:keystile:problem:")
        return str(text.rpartition(":")[2])


def request(
    path: str = "/v4/contacts",
    *fields: bytes,
    key: bytes | None = None,
    method: bytes = b"GET",
    body: bytes | None = None,
    version: bytes = b"1.1",
) -> bytes:
    """The bytes of one request; ``fields`` are lines without their ends."""
    lines = [b"%b %b HTTP/%b" % (method, path.encode(), version), b"Host: api.example", *fields]
    if key is not None:
        lines.append(b"X-Api-Key: " + key)
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body or b""])


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

    def rows(self, kind: bytes) -> list[Any]:
        """The rows of every message of that kind: a relay hands over by its own clock too, so there may be several."""
        return [row for name, payload in self.messages if name == kind for row in json.loads(payload)]


class Running:
    """A relay that serves: ``port``, ``gateway``, its ``channel``, and ways to make keys.

    ``secrets``: every key it has; none of them may ever be found in what the relay hands to its channel.
    """

    def __init__(self, gateway: Gateway, port: int, channel: KeptMessages, keyring: Keyring) -> None:
        self.gateway = gateway
        self.port = port
        self.channel = channel
        self.keyring = keyring
        self.secrets: list[bytes] = []
        self.stored: list[int] = []
        self._made = 0

    async def ask(self, path: str = "/v4/contacts", *fields: bytes, **how: Any) -> Answer:
        """The answer to one request (see ``request``) on a connection of its own, from the address ``source``."""
        source = how.pop("source", None)
        client = await RawClient.connect(self.port, source)
        await client.send(request(path, *fields, **how))
        answer = Answer(*await client.answer(to_head=how.get("method") == b"HEAD"))
        client.reset()
        return answer

    async def listen(self, sock: socket.socket, listener: Listener) -> None:
        """Have it listen on one more socket, as after a change of the configuration."""
        listeners = (*self.gateway.settings.listeners, listener)
        self.gateway.take(dataclasses.replace(self.gateway.settings, listeners=listeners))
        await self.gateway.listen(sock, listener)

    def hand_over(self) -> None:
        """What the relay does four times a second."""
        gateway = self.gateway
        gateway.recorder.flush(len(gateway.connections), gateway.in_flight, False, last=True)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The access log so far."""
        self.hand_over()
        return [json.loads(line) for line in self.channel.of(b"L").splitlines()]

    @property
    def uses(self) -> list[list[Any]]:
        """The last uses handed over so far: key id, Unix seconds, address, mark."""
        self.hand_over()
        batches = [json.loads(payload) for kind, payload in self.channel.messages if kind == b"U"]
        return [use for batch in batches for use in batch]

    @property
    def counters(self) -> dict[str, int]:
        """The counters as they were stored."""
        self.hand_over()
        return dict(zip(COUNTERS, self.stored, strict=True))

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
    ) -> None:
        self.secrets.append(secret)
        self.keyring.put(
            KeyRow(
                id=f"key{self._made}",
                account="owner@example.com",
                name=f"name{self._made}",
                digest=secrets.digest(secret),
                scopes=" ".join(scopes),
                networks=" ".join(networks),
                expires=expires,
            )
        )


def settings(upstream_port: int, **changes: Any) -> Settings:
    # It shares its loop with the test, and is late when the machine is: only what is about lag sets a bound for it.
    limits = Limits(**{"max_lag": None, **changes.pop("limits", {})})
    base = Settings(
        file=Path("gateway.yaml"),
        listeners=(Listener("127.0.0.1", 0),),
        management=Management(),
        workers=1,
        store=Path("unused.db"),
        keys=KeyPolicy(**changes.pop("keys", {})),
        limits=limits,
        trusted_proxies=(),
        health_path=None,
        access_log=AccessLog(),
        upstreams=(Upstream("api", (Server("127.0.0.1", upstream_port),)),),
        operations=OPERATIONS,
    )
    return dataclasses.replace(base, **changes)


def rules(wanted: Settings) -> Rules:
    """What a relay works by with these settings."""
    policies = [each.tls for each in wanted.listeners if each.tls is not None]
    terms = {tls: terms_of(tls, Path.read_bytes, time.time()) for tls in policies}
    reaching = reaching_of(wanted, nullcontext, Path.read_bytes)
    return Rules(wanted, RouteTable(wanted.operations), terms, reaching=reaching)


@asynccontextmanager
async def running(upstream_port: int, **changes: Any) -> AsyncIterator[Running]:
    """A relay in front of the upstream at ``upstream_port``.

    ``changes`` are fields of ``Settings``; ``limits`` and ``keys`` are dicts; ``wall_clock`` gives Unix seconds.
    """
    wall_clock = changes.pop("wall_clock", time.time)
    wanted = settings(upstream_port, **changes)
    keyring = Keyring()
    channel = KeptMessages()
    stored: list[int] = []
    slots = (SlotTable if wanted.slots is None else LeasedSlots).create(rows=1024, columns=4)
    slots.claim_column()
    gateway = Gateway(
        rules(wanted),
        rules,
        keyring,
        cast(KeyFollower, StoredNowhere()),
        slots,
        channel,
        lambda _, values: stored.__setitem__(slice(None), values),
        wall_clock,
    )
    await gateway.start()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    sock.setblocking(False)
    await gateway.listen(sock, wanted.listeners[0])
    relay = Running(gateway, sock.getsockname()[1], channel, keyring)
    relay.stored = stored
    try:
        yield relay
    finally:
        RawClient.close_all()
        gateway.close()
        await asyncio.sleep(0.02)
        relay.hand_over()
        slots.close()
    for secret in relay.secrets:
        assert not any(secret in payload for _, payload in channel.messages), "a key was handed over in clear"


@contextmanager
def odd_servers() -> Iterator[tuple[Upstream, Upstream, Upstream]]:
    """Three upstreams: ``deaf`` connects and never reads, ``full`` never connects, ``gone`` is not there."""
    listening = {name: socket.socket() for name in ("deaf", "full", "gone")}
    listening["deaf"].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for name, one in listening.items():
        one.bind(("127.0.0.1", 0))
        if name != "gone":
            one.listen(1024 if name == "deaf" else 0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(listening["full"].getsockname())
    try:
        deaf, full, gone = (
            Upstream(name, (Server("127.0.0.1", one.getsockname()[1]),)) for name, one in listening.items()
        )
        yield deaf, full, gone
    finally:
        for one in (*listening.values(), *waiting):
            one.close()


def with_upstreams(port: int, *others: Upstream) -> dict[str, Any]:
    """Settings that lead everything below ``/NAME/`` to the upstream of that name, for each of ``others``."""
    operations = tuple(
        Operation((), f"/{other.name}/*", Needs(), other.name, "test", 100 + i) for i, other in enumerate(others)
    )
    api = Upstream("api", (Server("127.0.0.1", port),))
    return {"upstreams": (api, *others), "operations": OPERATIONS + operations}


@contextmanager
def moments(relay: Running) -> Iterator[tuple[SimpleNamespace, list[Exchange]]]:
    """A clock for the moments of exchanges that stands unless its ``now`` is set; and the exchanges that have ended."""
    clock, ended, record = SimpleNamespace(now=1000.0), [], relay.gateway.recorder.record

    def remember(exchange: Exchange) -> None:
        ended.append(exchange)
        record(exchange)

    with pytest.MonkeyPatch.context() as patched:
        for module in (exchange, end, search, waiting):
            patched.setattr(module, "monotonic", lambda: clock.now)
        patched.setattr(relay.gateway.recorder, "record", remember)
        yield clock, ended


async def until(true: Any, seconds: float = 30.0) -> None:
    """Wait until ``true()`` holds; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.01)


__all__ = [
    "OPERATIONS",
    "Answer",
    "KeptMessages",
    "Running",
    "SimpleNamespace",
    "StoredNowhere",
    "moments",
    "odd_servers",
    "request",
    "running",
    "settings",
    "until",
    "with_upstreams",
]
