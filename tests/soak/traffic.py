"""Callers as there are in front of any gateway: plain and TLS, on connections that they keep and on new ones.

Law: every request that is sent ends in exactly one count, and only a 200 is none that failed. A caller keeps its
connection until an answer says that it ends (``Connection: close``); one that ends otherwise is a failed request.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.processes import free_port

from keystile.wire.certificates import self_signed
from tests.soak.gateway import RealGateway

ASK = b"GET %b HTTP/1.1\r\nHost: soak.example\r\nX-Api-Key: %b\r\n\r\n"
ANSWERED_WITHIN = 30.0
"""Seconds after which a request counts as not answered."""


@dataclass
class Traffic:
    """``tls``: the port of a TLS listener, 0 for none. ``broken``: how requests ended that got no whole answer."""

    port: int
    tls: int
    key: bytes
    path: bytes = b"/soak/now"
    sent: int = 0
    connections: int = 0
    moved: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    stopping: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return self.sent - self.statuses[200]

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        if self.failed:
            found.append(f"{self.failed} of {self.sent} requests failed: {dict(self.statuses)}, {dict(self.broken)}")
        if self.sent != self.statuses.total() + self.broken.total():
            found.append("not every request is accounted for")
        return found

    def start(self, each: int = 2, pause: float = 0.0) -> None:
        """So many callers of each kind; ``pause``: seconds between two requests of one."""
        for secure in (False, True) if self.tls else (False,):
            for kept in (False, True):
                self.tasks += [asyncio.ensure_future(self._call(kept, secure, pause)) for _ in range(each)]

    async def stop(self) -> None:
        """No further requests; those on their way are waited for."""
        self.stopping = True
        await asyncio.gather(*self.tasks)

    async def _call(self, kept: bool, secure: bool, pause: float) -> None:
        while not self.stopping:
            self.sent += 1  # of the first request: that nobody lets it in is its failure too
            try:
                reader, writer = await asyncio.wait_for(self._connect(secure), ANSWERED_WITHIN)
            except (OSError, TimeoutError) as error:
                self.broken[f"connecting: {type(error).__name__}"] += 1
                await asyncio.sleep(0.01)
                continue
            number, began, port = 1, time.monotonic(), writer.get_extra_info("sockname")[1]
            try:
                while await self._ask(reader, writer) and kept and not self.stopping:
                    await asyncio.sleep(pause)
                    self.sent += 1
                    number += 1
            except (OSError, EOFError, TimeoutError) as error:
                way = f"{'TLS' if secure else 'plain'}, {'kept' if kept else 'new'}"
                since = f"{time.monotonic() - began:.1f} s after connecting at {datetime.now(UTC):%T.%f}"
                self.broken[f"{error!r} ({way}, request {number}, {since} from {port})"] += 1
            writer.transport.abort()
            await asyncio.sleep(pause)

    async def _connect(self, secure: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections += 1
        if not secure:
            return await asyncio.open_connection("127.0.0.1", self.port)
        return await asyncio.open_connection("127.0.0.1", self.tls, ssl=anybody())

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request that has been counted; whether another may follow on the connection."""
        if writer.is_closing():  # on uvloop, writing would be a RuntimeError then
            raise ConnectionResetError("ended before the request was sent")
        writer.write(ASK % (self.path, self.key))
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWERED_WITHIN)).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        self.statuses[int(head[9:12])] += 1
        ends = b"\r\nconnection: close\r\n" in head
        self.moved += ends
        return not ends


def anybody() -> ssl.SSLContext:
    """A client's context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def answer_of(port: int, data: bytes) -> bytes:
    """All that comes back on a connection of its own, which the other side ends; empty where it was cut."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), ANSWERED_WITHIN)
        finally:
            writer.transport.abort()
    return b""


def with_tls(gateway: RealGateway) -> int:
    """Give the gateway a TLS listener too, before it is started; the listener's port."""
    folder = gateway.file.parent
    for name, content in zip(("cert.pem", "key.pem"), self_signed(["localhost"], 5), strict=True):
        (folder / name).write_bytes(content)
    port = free_port()
    tls = f'{{address: "127.0.0.1:{port}", tls: {{certificate: cert.pem, private_key: key.pem}}}}'
    text = gateway.file.read_text(encoding="utf-8")
    text = text.replace('[{address: "127.0.0.1:0"}]', f'[{{address: "127.0.0.1:0"}}, {tls}]', 1)
    gateway.file.write_text(text, encoding="utf-8")
    return port
