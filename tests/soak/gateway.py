"""A real ``keystile serve`` on free ports, and what can be known of its relays from outside.

Law: command, status, store and /proc; nothing of the relays' insides. Linux only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.processes import free_port

from keystile.keys import secret as secrets
from keystile.keys.key import Account, ApiKey
from keystile.keys.networks import Networks
from keystile.process.control import ask
from keystile.storage.sqlite import SqliteStore

SCOPE = "Soak"
ACCOUNT = "soak@example.com"
SETTINGS = """\
listeners: [{{address: "127.0.0.1:0"}}]
management: {{address: "127.0.0.1:0"}}
workers: {workers}
store: sqlite:///keystile.db
keys: {{per_account: {per_account}, query_parameter: apikey}}
limits: {{concurrent_requests_per_ip: {cap}, drain_timeout: 5s{limits}}}
access_log: off
health_path: {health}
upstreams:
  api: {{servers: ["http://127.0.0.1:{upstream}"]}}
routes:
  - {{path: /soak/*, scope: Soak, upstream: api}}
  - {{path: /v4/contacts, methods: [GET], scope: Soak, upstream: api}}
"""


class RealGateway:
    """``keystile serve`` in ``directory``; use as a context manager. ``limits``: further ones, ``name: value``."""

    def __init__(
        self,
        directory: Path,
        upstream: int,
        workers: int,
        cap: int = 20,
        per_account: int = 100,
        limits: tuple[str, ...] = (),
        health_path: str | None = None,
    ) -> None:
        self.file = directory / "gateway.yaml"
        self.store = directory / "keystile.db"
        self.workers = workers
        self.file.write_text(
            SETTINGS.format(
                workers=workers,
                upstream=upstream,
                cap=cap,
                per_account=per_account,
                limits="".join(f", {limit}" for limit in limits),
                health=health_path or "null",
            ),
            encoding="utf-8",
        )
        self.errors = directory / "errors.txt"
        self.port = 0
        self.ports: list[int] = []
        self.management = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._relays: dict[bytes, int] = {}

    def __enter__(self) -> RealGateway:
        self.start()
        return self

    def start(self) -> None:
        """Start it (again, after its end)."""
        self.close_output()
        with self.errors.open("ab") as errors:
            command = [sys.executable, "-m", "keystile", "serve", "-c", str(self.file)]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        assert self._process.stdout is not None
        self.ports, self.management = [], ""
        while not self.management:
            said = self._process.stdout.readline().decode().strip()
            assert " on http" in said, self.errors.read_text()
            if said.startswith("listening on "):
                self.ports.append(int(said.rpartition(":")[2]))
            else:
                self.management = said.removeprefix("management on ")
        self.port = self.ports[0]

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        assert self._process is not None
        return self._process

    def close_output(self) -> None:
        """Nobody reads any more what a process has said that has ended."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    def fix_port(self) -> int:
        """A port that it has at every start; before the first one."""
        port = free_port()
        text = self.file.read_text(encoding="utf-8")
        self.file.write_text(text.replace('"127.0.0.1:0"', f'"127.0.0.1:{port}"', 1), encoding="utf-8")
        return port

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        if process.poll() is None:
            for pid in self.pids():
                send(pid, signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def status(self) -> dict[str, Any]:
        """What ``keystile status`` shows."""
        return ask(self.store)

    def pids(self, role: str = "relay") -> list[int]:
        """The processes of a role that work now: not those that were replaced and only finish."""
        here = [each for each in self.status()["processes"] if not each.get("draining")]
        return [each["pid"] for each in here if each["role"] == role]

    def metric(self, name: str) -> float:
        """One sample of the metrics: such as ``connections`` or ``refusals_total{refusal="draining"}``."""
        with urllib.request.urlopen(f"{self.management}/metrics", timeout=10) as answer:
            [value] = re.findall(rf"(?m)^keystile_{re.escape(name)} (\S+)$", answer.read().decode())
        return float(value)

    def slots_left(self, within: float = 1.0) -> int:
        """Slots still taken after ``within`` seconds at most; 0 as soon as there are none."""
        give_up = time.monotonic() + within
        while (taken := int(self.status()["slots_taken"])) and time.monotonic() < give_up:
            time.sleep(0.001)
        return taken

    # -- which relay is it? ---------------------------------------------------------------------------

    def pid_of(self, relay: bytes, client: tuple[str, int]) -> int:
        """The process behind the request ids that begin with ``relay``, which answered to ``client``; 0: not known."""
        pid = self._relays.get(relay, 0)
        if not pid:
            pid = self._relays[relay] = self._owner(client)
        return pid

    def known_pid(self, relay: bytes) -> int:
        """The process behind the request ids that begin with ``relay``, if it was asked for before."""
        return self._relays.get(relay, 0)

    def _owner(self, client: tuple[str, int]) -> int:
        inodes = self._accepted()
        for pid in self.pids():
            if any(inodes.get(inode) == client for inode in socket_inodes(pid)):
                return pid
        return 0

    def clients_of(self, pid: int) -> set[tuple[str, int]]:
        """The clients whose connections the process has accepted."""
        inodes = self._accepted()
        return {inodes[inode] for inode in socket_inodes(pid) if inode in inodes}

    def _accepted(self) -> dict[str, tuple[str, int]]:
        """The gateway's ends of connections by inode: the client's address and port. 0 is one not accepted yet."""
        found = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) in self.ports and fields[9] != "0":
                host, _, port = fields[2].partition(":")
                found[fields[9]] = (".".join(map(str, bytes.fromhex(host)[::-1])), int(port, 16))
        return found


def socket_inodes(pid: int) -> list[str]:
    """The inodes of a process's sockets."""
    found = []
    directory = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(directory):
            target = os.readlink(f"{directory}/{name}")
            if target.startswith("socket:["):
                found.append(target[8:-1])
    except OSError:  # it has ended, or closed one meanwhile
        return found
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; no error when the process has ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def stop(pid: int) -> None:
    """SIGSTOP, and wait until the process has really stopped: the signal takes its time on another core."""
    send(pid, signal.SIGSTOP)
    give_up = time.monotonic() + 1
    while time.monotonic() < give_up:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ":
                return
        except OSError:
            return


async def fill(store: Path, count: int, scopes: tuple[str, ...] = (SCOPE,)) -> list[bytes]:
    """Make a store with one account and so many keys (k0, k1 …) in one transaction; returns their secrets."""
    made = [secrets.generate() for _ in range(count)]
    opened = await SqliteStore.open(store)
    account = Account("0" * 16, ACCOUNT, False, time.time())
    try:
        async with opened.change() as transaction:
            await transaction.add_account(account)
            for number, secret in enumerate(made):
                key = ApiKey(
                    id=f"{number:016x}",
                    account_id=account.id,
                    account_email=account.email,
                    name=f"k{number}",
                    hint=secret[-5:],
                    scopes=frozenset(scopes),
                    networks=Networks.parse([]),
                    expires=None,
                    created=time.time(),
                    imported=False,
                )
                await transaction.add_key(key, secrets.digest(secret.encode()))
    finally:
        await opened.close()
    return [secret.encode() for secret in made]
