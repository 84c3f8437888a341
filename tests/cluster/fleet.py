"""Several hosts over one PostgreSQL and one Valkey or Redis: gateways with folders of their own, and both engines.

Law: processes, files and pipes; no traffic and no verdicts. Whatever is started here ends with the block.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

import keystile
from tests.cluster.pipe import Pipe
from tests.cluster.server import Server, running
from tests.storage import postgres_server
from tests.storage.postgres_server import USER, free_port

OURS = Path(keystile.__file__).parents[1]
"""Where the present program lies."""
OWNER, PASSWORD = "owner@fleet.example", "correct horse battery staple"
SCOPE, OTHER = "View", "Else"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
ENDS_WITH_US = ("setpriv", "--pdeathsig=KILL", "--")
"""A host is a session of its own: nobody else would end it where these tests are killed."""
READY = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Host:
    """One gateway. ``source``: where its program lies; ``slots`` and ``store``: pipes to the engines."""

    def __init__(self, at: int, folder: Path, slots: Pipe, store: Pipe, source: Path) -> None:
        folder.mkdir()
        self.at, self.folder, self.slots, self.store, self.source = at, folder, slots, store, source
        self.port, self.management = free_port(), free_port()
        self.is_offered = False
        """Whether a balancer sends it requests."""
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, settings: dict[str, Any]) -> None:
        """Write gateway.yaml, as another file under the same name."""
        beside = self.folder / "gateway.yaml.new"
        beside.write_text(yaml.safe_dump(settings), encoding="utf-8")
        beside.replace(self.folder / "gateway.yaml")

    def settings(self, api: int, rule: str, database: str, **more: Any) -> dict[str, Any]:
        """What gateway.yaml says; ``more`` goes into the limits, but for what is of the first level."""
        top: dict[str, Any] = {name: more.pop(name) for name in ("trust_without_store", "routes") if name in more}
        return {
            "listeners": [{"address": f"127.0.0.1:{self.port}"}],
            "management": {"address": f"127.0.0.1:{self.management}"},
            "workers": 1,
            "slots": {"url": f"valkey://127.0.0.1:{self.slots.port}", "when_unreachable": rule},
            "store": f"postgresql://{USER}@127.0.0.1:{self.store.port}/{database}",
            "keys": {"per_account": 200},  # what a change without an answer has left is not looked for
            "access_log": "off",
            "health_path": "/healthz",
            "trusted_proxies": ["127.0.0.1"],
            "limits": {
                "concurrent_requests_per_ip": 20,
                "connections_per_ip": 4096,
                "drain_wait": "1s",
                "max_lag": "none",  # how busy this machine is is nobody's promise
                **more,
            },
            "upstreams": {"api": {"servers": [f"http://127.0.0.1:{api}"], "breaker": None}},
            "routes": [{"path": "/*", "scope": SCOPE, "upstream": "api"}],
            **top,
        }

    def start(self) -> None:
        """As a service manager does it."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*ENDS_WITH_US, *_keystile(), "-c", str(self.folder / "gateway.yaml"), "serve"],
                stdout=log, stderr=log, start_new_session=True, env=self._environment(),
            )  # fmt: skip

    async def is_ready(self) -> bool:
        """Whether its health says so."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(READY)
            said = await asyncio.wait_for(reader.read(100), 5)
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
        return said.startswith(b"HTTP/1.1 200 ")

    async def status(self, secret: str, path: str) -> int:
        """Of one request, which the account does not know."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {secret}\r\nX-Forwarded-For: 10.0.8.1\r\nX-Call: 0\r\n"
            "Connection: close\r\n\r\n".encode("ascii")
        )
        try:
            return int((await reader.read(100))[9:12])
        finally:
            writer.close()

    async def knows(self, secret: str) -> None:
        """Wait until it lets a key in."""
        for _ in range(500):
            if await self.status(secret, "/0") == 200:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(self.log())

    async def ready(self, seconds: float = 40.0) -> None:
        """Wait for it, and offer it to callers."""
        end = time.monotonic() + seconds
        while not await self.is_ready():
            assert self.runs(), self.log()
            assert time.monotonic() < end, self.log()
            await asyncio.sleep(0.05)
        self.is_offered = True

    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def signal(self, number: int) -> None:
        """To every process of this host."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End every process of it at once."""
        if self.process is not None and self.runs():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()

    def runs(self) -> bool:
        """Whether it has been started, and has not ended."""
        return self.process is not None and self.process.poll() is None

    async def drain(self) -> int:
        """Have it end; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 60)

    async def run(self, *words: str, stdin: str = "") -> str:
        """What another command prints; it must succeed."""
        pipe = asyncio.subprocess.PIPE
        command = (*_keystile(), "-c", str(self.folder / "gateway.yaml"), *words)
        done = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environment()
        )
        out, err = await done.communicate(stdin.encode())
        assert done.returncode == 0, f"{words[:2]}: {err.decode()}"
        return out.decode()

    async def metrics(self) -> dict[str, float]:
        """What /metrics says, sums over labels."""
        url = f"http://127.0.0.1:{self.management}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        found: defaultdict[str, float] = defaultdict(float)
        for line in text.splitlines():
            if line.startswith("keystile_"):
                name, _, value = line.rpartition(" ")
                found[name.partition("{")[0].removeprefix("keystile_")] += float(value)
        return found

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.source)}


def _keystile() -> list[str]:
    return [sys.executable, "-m", "keystile"]


class Fleet:
    """All hosts, and the engines. ``token``: of the management API; ``secret``: of the key that lasts."""

    def __init__(self, folder: Path, api: int, rule: str, slots: Server, store: postgres_server.Server) -> None:
        self.folder, self.api, self.rule, self.slots, self.store = folder, api, rule, slots, store
        self.database = dict(store.database().options)["dbname"]
        self.hosts: list[Host] = []
        self.token = self.secret = ""

    async def add(self, source: Path = OURS, **more: Any) -> Host:
        """Another host; it is not started yet."""
        at = len(self.hosts)
        pipes = Pipe(self.slots.port), Pipe(self.store.port)
        for pipe in pipes:
            await pipe.open()
        host = Host(at, self.folder / f"host{at}", *pipes, source)
        host.write(self.settings(host, **more))
        self.hosts.append(host)
        return host

    def one(self, at: int) -> Host:
        """A host by a number that may be higher than there are."""
        return self.hosts[at % len(self.hosts)]

    def settings(self, host: Host, **more: Any) -> dict[str, Any]:
        """What its gateway.yaml says, and what else it is to say."""
        return host.settings(self.api, self.rule, self.database, **more)

    async def prepare(self) -> None:
        """An account, a token of the management API and the key that lasts; all hosts know it."""
        first = self.hosts[0]
        await first.run("accounts", "create", OWNER, "--password-stdin", stdin=f"{PASSWORD}\n")
        base = f"http://127.0.0.1:{first.management}"
        async with aiohttp.ClientSession(base, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            async with session.get("/sign-in") as page:
                csrf = CSRF.findall(await page.text())[0]
            fields = {"email": OWNER, "password": PASSWORD, "csrf": csrf}
            async with session.post("/sign-in", data=fields) as page:
                csrf = CSRF.findall(await page.text())[0]
            headers = {"X-CSRF-Token": csrf}
            async with session.post("/api/tokens", json={"name": "fleet"}, headers=headers) as answer:
                self.token = (await answer.json())["token"]
            key = {"name": "lasting", "scopes": [SCOPE]}
            async with session.post("/api/keys", json=key, headers=headers) as answer:
                self.secret = (await answer.json())["key"]
        for host in self.hosts:
            await host.knows(self.secret)

    def kill(self) -> None:
        """End all hosts at once."""
        for host in self.hosts:
            host.kill()

    async def at_rest(self, seconds: float = 10.0) -> list[str]:
        """What is still taken or lent when all traffic has ended, after so long at most."""
        end = time.monotonic() + seconds
        while True:
            left = []
            for host in self.hosts:
                if host.runs():
                    said = await host.metrics()
                    names = [name for name in ("slots_taken", "slots_leased") if said[name]]
                    left += [f"host {host.at}: {name} {said[name]:g}" for name in names]
            if not left or time.monotonic() > end:
                return left
            await asyncio.sleep(0.2)


@asynccontextmanager
async def fleet(
    folder: Path, api: int, rule: str = "refuse", sources: tuple[Path, ...] = (OURS,) * 4, **more: Any
) -> AsyncIterator[Fleet]:
    """One host for each of ``sources``, ready, while the block lasts."""
    with ExitStack() as opened:
        (folder / "slots").mkdir(parents=True)
        slots = opened.enter_context(running(folder / "slots"))
        store = opened.enter_context(postgres_server.server(free_port()))
        made = Fleet(folder, api, rule, slots, store)
        opened.callback(made.kill)
        try:
            for source in sources:
                (await made.add(source, **more)).start()
            for host in made.hosts:
                await host.ready()
            await made.prepare()
            yield made
        finally:
            for host in made.hosts:
                await host.slots.close()
                await host.store.close()
            await asyncio.sleep(0.05)  # what is being closed is closed
