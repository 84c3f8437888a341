"""A small gateway for the tests of processes: one word a line in, one line out.

``pid``; ``take`` (a slot, kept until the connection ends); ``mutex`` (go to sleep with the slots' mutex);
``use KEY``; ``log TEXT``; ``slow SECONDS`` (a request in flight); ``boom`` (an internal error at start is
asked for by a file named ``boom`` beside the store).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from keystile.config.model import AccessLog, KeyPolicy, Limits, Listener, Management, Settings
from keystile.limits.slots import SlotTable, slot_name
from keystile.process.channel import Receiver, Sender
from keystile.process.charge import Charge, Line, run
from keystile.process.snapshot import Snapshot
from keystile.process.supervisor import Parts, serve

COUNTERS = ("requests", "connections")
GAUGES = frozenset({"connections"})
SMALL = Parts(
    relay="tests.process.stand_in:build",
    counters="tests.process.stand_in",
    management_process="tests.process.stand_in",
)
IMPATIENT = replace(SMALL, silent_at_most=1.5)
WITH_MANAGEMENT = Parts(relay="tests.process.stand_in:build", counters="tests.process.stand_in")
PARTS = {"small": SMALL, "impatient": IMPATIENT, "full": WITH_MANAGEMENT}
NAME = slot_name(IPv4Address("192.0.2.7"), 64)


def settings_for(directory: Path, **changes: object) -> Settings:
    fields: dict[str, object] = {
        "file": directory / "gateway.yaml",
        "listeners": (Listener("127.0.0.1", 0),),
        "management": Management(port=0),
        "workers": 2,
        "store": directory / "keystile.db",
        "keys": KeyPolicy(),
        "limits": Limits(drain_timeout=2.0),
        "trusted_proxies": (),
        "health_path": None,
        "access_log": AccessLog(),
        "upstreams": (),
        "operations": (),
    }
    return Settings(**{**fields, **changes})  # type: ignore[arg-type]


class StandIn:
    def __init__(
        self, snapshot: Snapshot, slots: SlotTable, channel: Sender, store: Callable[[Sequence[int]], None]
    ) -> None:
        self.settings = snapshot.settings
        self.slots = slots
        self.channel = channel
        self.store = store
        self.requests = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.busy = 0
        self.servers: list[asyncio.Server] = []

    async def start(self) -> None:
        boom = self.settings.store.with_name("boom")
        if boom.exists():
            raise OSError("boom, as asked for")

    async def listen(self, opened: socket.socket, listener: Listener) -> None:
        self.servers.append(await asyncio.start_server(self.serve, sock=opened))

    async def adopt(self, accepted: socket.socket, listener: Listener) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader, self.serve)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        rows: list[int] = []
        try:
            while line := await reader.readline():
                word, _, rest = line.decode().strip().partition(" ")
                self.busy += 1
                writer.write(f"{await self.answer(word, rest, rows)}\n".encode())
                self.busy -= 1
                self.requests += 1
                self.store([self.requests, len(self.open)])
        except ConnectionError:
            pass
        for row in rows:
            self.slots.give_back(row)
        self.open.discard(writer)
        writer.close()

    async def answer(self, word: str, rest: str, rows: list[int]) -> object:
        if word == "take":
            row = self.slots.take(NAME, 20)
            rows += [row] if row >= 0 else []
            return row
        if word == "mutex":
            self.slots.mutex.trylock(self.slots.mutex.at)
            time.sleep(60)  # noqa: ASYNC251 - it is the loop that is to hang
        if word == "use":
            return self.channel.send(b"U", json.dumps([[rest, time.time(), "192.0.2.7"]]).encode())
        if word == "log":
            return self.channel.send(b"L", rest.encode() + b"\n")
        if word == "slow":
            await asyncio.sleep(float(rest))
        return os.getpid()

    async def drain(self) -> None:
        for server in self.servers:
            server.close()
        until = time.monotonic() + self.settings.limits.drain_timeout
        while self.busy and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def close(self) -> None:
        for writer in self.open:
            writer.transport.abort()


build = StandIn


async def small_management(charge: Charge, line: Line) -> None:
    """Ready at once; reads the channel away."""
    receiver = Receiver(socket.socket(fileno=charge.channel), {})
    asyncio.get_running_loop().add_reader(receiver, receiver.receive)
    line.ready()
    await line.stop.wait()


def main() -> int:
    """``python -m tests.process.stand_in serve DIRECTORY WORKERS LISTENERS-PORT PARTS``, or a child."""
    if sys.argv[1] != "serve":
        run(small_management, last_words=True)
    directory, workers, port, parts = sys.argv[2:]
    settings = settings_for(
        Path(directory), workers=int(workers), listeners=(Listener("127.0.0.1", int(port)),)
    )
    return serve(settings, announce=sys.stdout, parts=PARTS[parts])


if __name__ == "__main__":
    sys.exit(main())
