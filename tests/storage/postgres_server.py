"""A PostgreSQL server of the tests' own: Debian's binaries, a cluster in a temporary directory, a socket in it.

Law: never the system's cluster. It is made for speed (``fsync = off``) and ends with the tests, however they end.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from keystile.storage.postgresql.database import Database
from tests.lacking import lacks

BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
_IN_MEMORY = Path("/dev/shm")


def needs_postgresql() -> None:
    """Skips where there can be no server."""
    if not (BINARIES / "initdb").exists():
        lacks(f"PostgreSQL's programs are not in {BINARIES} (Debian: apt install postgresql)")


class Server:
    """A server that runs in ``folder``; ``port`` 0: only on a socket there. ``durable``: as in service.

    ``settings``: more of them (``name=value``), which count before those that stand here.
    """

    def __init__(
        self, folder: Path, port: int = 0, *, durable: bool = False, settings: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.port = port
        self._durable = durable
        self._settings = settings
        self._made = 0
        self._more: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync", "-D", str(folder / "data"))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = ["max_connections=300", *([] if self._durable else ["fsync=off", "full_page_writes=off"])]
        settings += [f"unix_socket_directories={self.folder}"]
        settings += [f"listen_addresses={'127.0.0.1' if self.port else ''}", f"port={self.port or 5432}"]
        options = [part for each in (*settings, *self._settings, *self._more) for part in ("-c", each)]
        with (self.folder / "log").open("ab") as log:
            command = [*_as_user(), str(BINARIES / "postgres"), "-D", str(self.folder / "data"), *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        end = time.monotonic() + 30
        while True:
            try:
                self.run("SELECT 1")
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def secure(self, certificate: Path, key: Path) -> None:
        """From the next start on, over TCP only TLS with a password; the socket stays as it is."""
        data = self.folder / "data"
        for name, source in (("server.crt", certificate), ("server.key", key)):
            (data / name).write_bytes(source.read_bytes())
            (data / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(data / name, USER, USER)
        (data / "pg_hba.conf").write_text("local all all trust\nhostssl all all all scram-sha-256\n", "ascii")
        self._more = ["ssl=on"]

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT politely, SIGQUIT as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and not stopped by us."""
        return self._process is not None

    def pause(self) -> None:
        """Let every process of it stand still: connections stay, and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``pause``."""
        self._signal_all(signal.SIGCONT)

    def database(self) -> Database:
        """A new database, with nothing in it."""
        self._made += 1
        name = f"test{os.getpid()}_{self._made}"
        self.run(f"CREATE DATABASE {name}")
        return self.named(name)

    def named(self, name: str) -> Database:
        """How to reach a database of that name."""
        place = {"host": "127.0.0.1", "port": str(self.port)} if self.port else {"host": str(self.folder)}
        return Database(tuple({**place, "user": USER, "dbname": name}.items()))

    def run(self, sql: str, name: str = USER) -> None:
        """Run a statement as the database's owner."""
        place = {"host": str(self.folder), "port": str(self.port or 5432), "user": USER, "dbname": name}
        with psycopg.connect(autocommit=True, **place) as connection:  # type: ignore[arg-type]
            connection.execute(sql.encode())

    def pids(self) -> list[int]:
        """Its processes: first the one that starts and reaps all others."""
        assert self._process is not None
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, check=False)
        return [self._process.pid, *map(int, found.stdout.split())]

    def _signal_all(self, which: signal.Signals) -> None:
        for pid in self.pids():
            os.kill(pid, which)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([*_as_user(), str(BINARIES / program), *arguments], check=True, capture_output=True, cwd="/")


def _as_user() -> list[str]:
    """PostgreSQL refuses to run as root; and it is to end when we do."""
    who = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *who, "--pdeathsig=INT", "--"]


@contextmanager
def server(port: int = 0, *, durable: bool = False, settings: Sequence[str] = ()) -> Iterator[Server]:
    """A server while the block lasts; a ``durable`` one is on a disk and waits for it."""
    in_memory = _IN_MEMORY.is_dir() and not durable
    folder = Path(tempfile.mkdtemp(prefix="keystile-postgresql-", dir=_IN_MEMORY if in_memory else None))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        made = Server(folder, port, durable=durable, settings=settings)
        made.start()
        try:
            yield made
        finally:
            made.stop(signal.SIGQUIT)  # nothing of it is kept
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
