"""Certificates that change under load: who calls must not notice.

Law: measures; every request that is sent ends in exactly one count. Some callers keep their connection for the whole
time, others make a new one for each request, so that handshakes meet every change. A change is the two files written
anew and ``keystile reload``'s question answered.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import free_port

from keystile.process.control import ask_to_reload
from keystile.wire.certificates import self_signed
from tests.soak.gateway import RealGateway, fill
from tests.soak.upstream import Upstream

KEPT = 4
NEW = 4
ASK = b"GET /soak/now HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n"


@dataclass
class Changes:
    """What was counted. ``seen``: different certificates that new connections were shown."""

    relays: int
    asked: int = 0
    taken: int = 0
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    handshakes: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)
    cut: int = 0
    seconds: float = 0.0

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        failed = self.sent - self.statuses[200]
        if failed or self.broken:
            found.append(f"{failed} requests failed: {dict(self.statuses)}, {dict(self.broken)}")
        if self.cut:
            found.append(f"{self.cut} kept connections were cut")
        if self.taken != self.asked:
            found.append(f"{self.asked - self.taken} changes were not taken")
        if len(self.seen) < min(self.asked, 3):
            found.append("new connections did not meet the changes")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        return {
            "relays": self.relays,
            "changes": self.asked,
            "taken": self.taken,
            "seconds": self.seconds,
            "requests": self.sent,
            "handshakes": self.handshakes,
            "certificates seen": len(self.seen),
            "failed": self.sent - self.statuses[200],
        }


class Soak:
    """One gateway, its callers, and who changes its certificate."""

    def __init__(self, gateway: RealGateway, port: int, key: bytes) -> None:
        self.gateway = gateway
        self.port = port
        self.ask = ASK % key
        self.found = Changes(gateway.workers)
        self.stopping = False
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    async def call(self, *, kept: bool) -> None:
        """Call until the end: always on one connection, or on a new one each time."""
        while not self.stopping:
            reader, writer = await self._connect()
            try:
                while not self.stopping and await self._ask(reader, writer) and kept:
                    continue
            except (OSError, asyncio.IncompleteReadError) as error:
                self.found.broken[type(error).__name__] += 1
                self.found.cut += kept
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context)
        self.found.handshakes += 1
        self.found.seen.add(streams[1].get_extra_info("ssl_object").getpeercert(binary_form=True))
        return streams

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.found.sent += 1
        writer.write(self.ask)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self.found.statuses[int(head[9:12])] += 1
        return True

    async def run(self, count: int, folder: Path) -> None:
        """Callers all the time, and one change after the other."""
        began = time.monotonic()
        callers = [asyncio.ensure_future(self.call(kept=number < KEPT)) for number in range(KEPT + NEW)]
        for _ in range(count):
            write(folder)
            self.found.asked += 1
            answer = await asyncio.to_thread(ask_to_reload, self.gateway.store)
            # Management may have seen the change by itself before it was asked.
            self.found.taken += answer["fault"] is None
        self.stopping = True
        await asyncio.gather(*callers)
        self.found.seconds = time.monotonic() - began


def write(folder: Path) -> None:
    """A new certificate and its key, in place of those that are there: each file whole, but not both at once."""
    for name, content in zip(("cert.pem", "key.pem"), self_signed(["localhost"], 5), strict=True):
        beside = folder / f"{name}.new"
        beside.write_bytes(content)
        beside.replace(folder / name)


async def soak(count: int, relays: int, folder: Path) -> Changes:
    """So many changes while callers call; what was counted."""
    write(folder)
    port = free_port()
    async with Upstream() as upstream:
        gateway = RealGateway(folder, upstream.port, relays)
        tls = f'{{address: "127.0.0.1:{port}", tls: {{certificate: cert.pem, private_key: key.pem}}}}'
        text = gateway.file.read_text(encoding="utf-8")
        gateway.file.write_text(text.replace('[{address: "127.0.0.1:0"}]', f'[{{address: "127.0.0.1:0"}}, {tls}]', 1))
        [key] = await fill(gateway.store, 1)
        with gateway:
            watching = Soak(gateway, port, key)
            await watching.run(count, folder)
            return watching.found


async def main(count: int, relays: int) -> tuple[list[dict[str, object]], list[str]]:
    """The row of the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(count, relays, Path(directory))
    return [found.row()], found.faults()
