"""Configurations that change under load: who calls must not notice, and every answer is of exactly one of them.

Law: measures; every request that is sent ends in exactly one count. There are two configurations, in turn. Each answer
shows by two settings at once (where it went, and which browser origin may read it) which one it came by, and so does
its line in the access log; an answer that shows both ways, and a line of another configuration, are faults. Every few
changes come a file that is no good, after which nothing may be otherwise. Beside all that keys are made, edited and
deleted through the gateway (``changes.py``), which management answers, and takes each configuration too.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.processes import free_port

from keystile.process.control import ask_to_reload
from tests.soak.certificates import write
from tests.soak.changes import ROUTES, SCOPES, Changer, Changes, check
from tests.soak.gateway import RealGateway, fill

SETTINGS = """\
listeners:
  - address: "127.0.0.1:0"
  - {{address: "127.0.0.1:{tls}", tls: {{certificate: cert.pem, private_key: key.pem}}}}
{listener}management: {{address: "127.0.0.1:0"}}
workers: {workers}
limits: {{concurrent_requests_per_ip: 100, drain_timeout: 5s, max_fields: {fields}}}
keys: {{per_account: 10000}}
access_log: access.log
{calls}cors: {{origins: ["https://{name}.example"]}}
upstreams:
  {name}: {{servers: ["http://127.0.0.1:{upstream}"]}}
  kept: {{servers: ["http://127.0.0.1:{kept}"]}}
routes:
  - {{path: /soak, scope: Soak, upstream: {name}}}
  - {{path: /only/{name}, scope: Soak, upstream: {name}}}
  - {{path: /kept, scope: Soak, upstream: kept, cors: false}}
"""
NAMES = ("even", "odd")
KEPT, NEW = 3, 3
"""Callers that keep their connection, and that make a new one for each request; as many over TLS."""
BAD_EVERY = 4
LATENCY = 0.01
"""Seconds that an API takes, so that requests are on their way at every change."""
_ID = re.compile(rb"(?i)\r\nx-request-id: *(\S+)\r")


@dataclass
class Reloads:
    """What was counted. ``mixed``: answers that show both configurations, or a line of another one."""

    relays: int
    asked: int = 0
    taken: int = 0
    bad: int = 0
    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    mixed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    connections: int = 0
    kept_connections: int = 0
    lines: int = 0
    unlogged: int = 0
    keys: Changes = field(default_factory=Changes)
    restarts: int = 0
    slots_left: int = 0
    seconds: float = 0.0

    def faults(self) -> list[str]:
        """What should not have been."""
        found = [*self.mixed[:5], *self.wrong[:5]]
        if self.broken or self.sent != self.answered.total():
            found.append(f"{self.sent - self.answered.total()} requests have no answer: {dict(self.broken)}")
        if self.taken != self.asked:
            found.append(f"{self.asked - self.taken} changes were not taken")
        if self.kept_connections != 2 * KEPT:
            found.append(f"{self.kept_connections - 2 * KEPT} kept connections had to be made anew")
        if self.unlogged:
            found.append(f"{self.unlogged} answers have no line")
        if self.keys.unknown or not self.keys.there:
            found.append(f"not every change of a key was done: {dict(self.keys.statuses)}")
        if self.restarts or self.slots_left:
            found.append(f"{self.restarts} processes died, {self.slots_left} slots are taken at the end")
        if min(self.answered[name] for name in NAMES) == 0:
            found.append("the load did not meet both configurations")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        return {
            "relays": self.relays,
            "changes": self.asked,
            "bad files": self.bad,
            "seconds": self.seconds,
            "requests": self.sent,
            **{f"answered by {name}": self.answered[name] for name in sorted(self.answered)},
            "changes of keys": self.keys.statuses.total(),
            "connections": self.connections,
            "lines in the access log": self.lines,
            "failed": self.sent - self.answered.total(),
            "mixed": len(self.mixed),
        }


class Api:
    """Answers with its name, after a while."""

    def __init__(self, name: str) -> None:
        self.body = name.encode()
        self.port = 0

    async def __aenter__(self) -> Api:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(LATENCY)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.body), self.body))
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


class Soak:
    """One gateway, its callers, and who edits its file. ``number``: of the configuration in force, by its name."""

    def __init__(self, gateway: RealGateway, key: bytes, fields: Callable[[str], str], tls: int) -> None:
        self.gateway = gateway
        self.key = key
        self.text = fields
        self.tls = tls
        self.found = Reloads(gateway.workers)
        self.names = {1: NAMES[0]}
        self.of_request: dict[str, str] = {}
        self.stopping = False
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    # -- the callers ----------------------------------------------------------------------------------

    async def call(self, port: int, *, tls: bool, kept: bool) -> None:
        """Call until the end: always on one connection, or on a new one each time."""
        paths = ("/soak", "/kept", "/only/even", "/only/odd")
        at = 0
        while not self.stopping:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.context if tls else None)
            self.found.connections += 1
            self.found.kept_connections += kept
            try:
                while not self.stopping:
                    at += 1
                    await self.ask(reader, writer, paths[at % len(paths)], NAMES[at // len(paths) % 2])
                    if not kept:
                        break
            except (OSError, asyncio.IncompleteReadError) as error:
                self.found.broken[type(error).__name__] += 1
            writer.transport.abort()

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, origin: str) -> None:
        """One counted request."""
        self.found.sent += 1
        text = f"GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://{origin}.example\r\nX-Api-Key: "
        writer.write(text.encode() + self.key + b"\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        came_by = self.judge(path, origin, head, body)
        self.found.answered[came_by] += 1
        request = _ID.search(head)
        assert request is not None
        self.of_request[request[1].decode()] = came_by

    def judge(self, path: str, origin: str, head: bytes, body: bytes) -> str:
        """By which configuration the answer came; it must be one by every sign."""
        status, readable = int(head[9:12]), b"access-control-allow-origin" in head.lower()
        other = NAMES[NAMES[0] == origin]
        by_origin = origin if readable else other
        if path == "/kept":
            if (status, body, readable) != (200, b"kept", False):
                self.found.wrong.append(f"{path}: {status} {body!r} {readable}")
            return "kept"
        name = path.rpartition("/")[2]
        if status == 404 and name in NAMES:
            by_answer = NAMES[NAMES[0] == name]
        elif status == 200:
            by_answer = body.decode()
        else:
            self.found.wrong.append(f"{path}: {status} {body!r}")
            return "wrong"
        if by_answer != by_origin or (status == 200 and name in NAMES and by_answer != name):
            self.found.mixed.append(f"{path} for {origin}: {status}, {body!r}, readable: {readable}")
        return by_answer

    # -- the editor -----------------------------------------------------------------------------------

    async def run(self, count: int) -> None:
        """Callers all the time, and one change after the other."""
        began = time.monotonic()
        callers = [
            asyncio.ensure_future(self.call(port, tls=tls, kept=number < KEPT))
            for port, tls in ((self.gateway.port, False), (self.tls, True))
            for number in range(KEPT + NEW)
        ]
        changers = [Changer(self.gateway.port, self.key, number, self.found.keys) for number in range(2)]
        changing = [asyncio.ensure_future(changer.run()) for changer in changers]
        for number in range(1, count + 1):
            if number % BAD_EVERY == 0:
                await self.spoil(number // BAD_EVERY)
            await self.change(NAMES[number % 2], certificate=number % 3 == 0)
        self.stopping = True
        for changer in changers:
            changer.stopping = True
        await asyncio.gather(*callers, *changing)
        self.found.seconds = time.monotonic() - began
        self.found.slots_left = self.gateway.slots_left(5.0)
        self.found.restarts = int(self.gateway.status()["restarts"])
        await self.read_lines()

    async def change(self, name: str, *, certificate: bool) -> None:
        """The other configuration, and now and then another certificate with it."""
        if certificate:
            write(self.gateway.file.parent)
        _put(self.gateway.file, self.text(name))
        self.found.asked += 1
        answer = await asyncio.to_thread(ask_to_reload, self.gateway.store)
        self.found.taken += answer["fault"] is None
        if answer["fault"] is not None:
            self.found.wrong.append(f"not taken: {answer['fault']}")
        # From here on new connections come by it; management may have taken it before it was asked.
        self.names[answer["number"]] = name

    async def spoil(self, turn: int) -> None:
        """A file that is no good in one of several ways; it must change nothing, and be told."""
        text = self.gateway.file.read_text(encoding="utf-8")
        before = int(self.gateway.status()["configuration"])
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            bad = (
                text[: len(text) // 2],
                text + "nonsense: 1\n",
                text.replace("cert.pem", "missing.pem"),
                text.replace('"127.0.0.1:0"}}\nworkers', '"127.0.0.1:1"}}\nworkers').replace("workers: ", "workers: 1"),
                text.replace("listeners:\n", f'listeners:\n  - address: "127.0.0.1:{port}"\n'),
            )[turn % 5]
            _put(self.gateway.file, bad)
            answer = await asyncio.to_thread(ask_to_reload, self.gateway.store)
        self.found.bad += 1
        if answer["fault"] is None or answer["number"] != before:
            self.found.wrong.append(f"bad file {turn % 5} was taken: {answer}")

    # -- the log --------------------------------------------------------------------------------------

    async def read_lines(self) -> None:
        """Each answer's line must be of a configuration of its kind."""
        await asyncio.sleep(1.0)  # batches leave four times a second
        known = sorted(self.names)
        for line in (self.gateway.file.parent / "access.log").read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            came_by = self.of_request.pop(told["request_id"], "")
            self.found.lines += 1
            # One between two that are known held a new certificate, and the settings of the one before.
            name = self.names[max(number for number in known if number <= told["configuration"])]
            if came_by in NAMES and came_by != name:
                self.found.mixed.append(f"came by {came_by}, logged by {told['configuration']}: {name}")
        self.found.unlogged = len(self.of_request)


def _put(file: Path, text: str) -> None:
    beside = file.with_name("gateway.yaml.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


async def soak(count: int, relays: int, folder: Path) -> Reloads:
    """So many changes while callers call; what was counted."""
    write(folder)
    tls, third = free_port(), free_port()
    async with AsyncExitStack() as stack:
        apis = {name: await stack.enter_async_context(Api(name)) for name in (*NAMES, "kept")}

        def text(name: str) -> str:
            more = f'  - address: "127.0.0.1:{third}"\n' if name == NAMES[1] else ""
            ports = {"upstream": apis[name].port, "kept": apis["kept"].port, "tls": tls}
            fields = 50 + NAMES.index(name)
            return SETTINGS.format(name=name, workers=relays, fields=fields, listener=more, calls=ROUTES, **ports)

        gateway = RealGateway(folder, 9, relays)
        gateway.file.write_text(text(NAMES[0]), encoding="utf-8")
        [key] = await fill(gateway.store, 1, SCOPES)
        with gateway:
            work = Soak(gateway, key, text, tls)
            await work.run(count)
            await check_listener(work, third)
        work.found.wrong += check(gateway.store, work.found.keys)
        return work.found


async def check_listener(work: Soak, port: int) -> None:
    """The third listener comes and goes with the odd configuration; what was accepted there stays."""
    await work.change(NAMES[1], certificate=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ask = partial(work.ask, reader, writer, "/kept", NAMES[0])
    await ask()
    await work.change(NAMES[0], certificate=False)
    await ask()
    writer.transport.abort()
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return
    work.found.wrong.append("a listener that was removed still accepts")


async def main(count: int, relays: int) -> tuple[list[dict[str, object]], list[str]]:
    """The row of the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(count, relays, Path(directory))
    return [found.row()], found.faults()
