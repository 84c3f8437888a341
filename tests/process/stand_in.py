"""A small gateway for the tests of processes: one word a line in, one line out.

``pid``; ``take`` (a slot, kept until the connection ends); ``mutex`` (go to sleep with the slots' mutex);
``use KEY``; ``log TEXT``; ``slow SECONDS`` (a request in flight); ``boom`` (an internal error at start is
asked for by a file named ``boom`` beside the store, to begin later by ``hesitate``, and to
have 20 s for a drain by ``patient``); ``path`` (the settings'
``health_path``).

Another configuration is offered by a file ``offer`` (``offer`` below writes it). ``health_path`` says what becomes
of it: /refuse (a relay that has been told so refuses it), /die (relays die at their start by it), /hang (a relay
that has been told so never answers).
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from keystile.config.model import AccessLog, KeyPolicy, Limits, Listener, Management, Settings
from keystile.limits.servers import Pages
from keystile.limits.slots import SlotTable, slot_name
from keystile.process import snapshot as snapshots
from keystile.process.channel import Receiver, Sender
from keystile.process.charge import Charge, Line, run
from keystile.process.post import Message
from keystile.process.snapshot import Snapshot
from keystile.process.supervisor import Parts, serve

COUNTERS = ("requests", "connections")
GAUGES = frozenset({"connections"})
SMALL = Parts(
    relay="tests.process.stand_in:build",
    counters="tests.process.stand_in",
    management_process="tests.process.stand_in",
)
IMPATIENT = replace(SMALL, silent_at_most=1.5, taken_within=1.0)
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
        self,
        snapshot: Snapshot,
        slots: SlotTable,
        channel: Sender,
        store: Callable[[Sequence[str], Sequence[int]], None],
        servers: Pages,
    ) -> None:
        self.settings = snapshot.settings
        self.slots = slots
        self.channel = channel
        self.store = store
        self.requests = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.busy = 0
        self.holding: set[asyncio.StreamWriter] = set()
        self.servers: list[asyncio.Server] = []
        self.listeners: list[Listener] = []
        here = self.settings.store.with_name("relays")
        here.mkdir(exist_ok=True)
        (here / str(os.getpid())).touch()

    async def start(self) -> None:
        while self.settings.store.with_name("hesitate").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        boom = self.settings.store.with_name("boom")
        if boom.exists():
            raise OSError("boom, as asked for")
        if self.settings.health_path == "/die":
            os.kill(os.getpid(), signal.SIGKILL)

    async def listen(self, opened: socket.socket, listener: Listener) -> None:
        self.servers.append(await asyncio.start_server(self.serve, sock=opened))
        self.listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        at = self.listeners.index(listener)
        del self.listeners[at]
        self.servers.pop(at).close()

    def take(self, accepted: Snapshot) -> None:
        path = accepted.settings.health_path
        odd = self.settings.workers > 1 and os.getpid() == max(map(int, self.seen()))
        if path == "/refuse" and odd:
            raise ValueError("as asked for")
        if path == "/hang" and odd:
            time.sleep(60)
        self.settings = accepted.settings

    def seen(self) -> list[str]:
        """The relays' pids, as they have signed in."""
        return [file.name for file in self.settings.store.with_name("relays").iterdir()]

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
                self.holding = self.holding | {writer} if rows else self.holding
                self.store(COUNTERS, [self.requests, len(self.open)])
        except ConnectionError:
            pass
        for row in rows:
            self.slots.give_back(row)
        self.open.discard(writer)
        self.holding -= {writer}
        writer.close()

    async def answer(self, word: str, rest: str, rows: list[int]) -> object:
        if word == "take":
            row = self.slots.take(NAME, 20)
            rows += [row] if row >= 0 else []
            return row
        if word == "mutex":
            self.slots.mutex.trylock(self.slots.mutex.at)
            time.sleep(60)  # noqa: ASYNC251 - it is the loop that is to hang
        if word == "path":
            return self.settings.health_path
        if word == "use":
            return self.channel.send(b"U", json.dumps([[rest, time.time(), "192.0.2.7", ""]]).encode())
        if word == "log":
            return self.channel.send(b"L", rest.encode() + b"\n")
        if word == "slow":
            await asyncio.sleep(float(rest))
        return os.getpid()

    def leave(self, *, replaced: bool = False) -> None: ...

    async def drain(self) -> None:
        for server in self.servers:
            server.close()
        moment = time.monotonic() + 0.3
        while time.monotonic() < moment:  # noqa: ASYNC110 - who has connected just now may still say a word
            await asyncio.sleep(0.01)
        until = time.monotonic() + self.settings.limits.drain_timeout
        while (self.busy or self.holding) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def close(self) -> None:
        for writer in self.open:
            writer.transport.abort()


build = StandIn


async def small_management(charge: Charge, line: Line) -> None:
    """Ready at once; reads the channel away; offers what ``offer`` asks for, and writes down every answer."""
    receiver = Receiver(socket.socket(fileno=charge.channel), {})
    asyncio.get_running_loop().add_reader(receiver, receiver.receive)
    taken = snapshots.read(charge.snapshot)
    asked, answers = taken.settings.store.with_name("offer"), taken.settings.store.with_name("answers")

    def heard(message: Message) -> None:
        with answers.open("a", encoding="utf-8") as file:
            file.write(json.dumps(message.content) + "\n")
        message.close()

    line.hear("considered", heard)
    line.hear("put_back", heard)
    for known in ("leaving", "take_over"):
        line.hear(known, lambda _: None)
    line.ready()
    while not line.stop.is_set():
        if asked.exists():
            number, changes = pickle.loads(asked.read_bytes())
            asked.unlink()
            sealed = snapshots.seal(Snapshot(number, replace(taken.settings, **changes)))
            line.say({"offer": number}, [sealed])
            os.close(sealed)
        await asyncio.sleep(0.01)


def offer(directory: Path, number: int, **changes: object) -> dict[str, Any]:
    """Have the management of the gateway in ``directory`` offer a configuration; the answer."""
    answers = directory / "answers"
    before = len(told(directory))
    (directory / "offer.new").write_bytes(pickle.dumps((number, changes)))
    (directory / "offer.new").rename(directory / "offer")
    give_up = time.monotonic() + 20
    while len(told(directory)) == before:
        assert time.monotonic() < give_up, answers
        time.sleep(0.01)
    return told(directory)[before]


def told(directory: Path) -> list[dict[str, Any]]:
    """All that management was told of configurations."""
    answers = directory / "answers"
    return [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []


def main() -> int:
    """``python -m tests.process.stand_in serve DIRECTORY WORKERS LISTENERS-PORT PARTS``, or a child."""
    if sys.argv[1] != "serve":
        run(small_management, last_words=True)
    directory, workers, port, parts = sys.argv[2:]
    limits = Limits(drain_timeout=20.0 if (Path(directory) / "patient").exists() else 2.0)
    settings = settings_for(
        Path(directory), workers=int(workers), listeners=(Listener("127.0.0.1", int(port)),), limits=limits
    )
    return serve(settings, announce=sys.stdout, parts=PARTS[parts])


if __name__ == "__main__":
    sys.exit(main())
