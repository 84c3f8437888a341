"""The gateway as an operator has it: ``keystile serve`` on a gateway.yaml, and the other commands beside it.

Law: everything here is done through the command line, files and sockets; nothing of Keystile's is imported.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.commands import run_command
from tests.process.running import until

DOCUMENT = Path(__file__).parent.parent / "data" / "elasticemail-openapi.yaml"
LEVELS = DOCUMENT.with_name("elasticemail-scopes.tsv")
PASSWORD = "correct horse battery staple"
OWNER = "owner@example.com"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def settings(upstream_port: int, routes: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """A gateway.yaml with all ports free ones; ``more`` are settings of the first level."""
    limits = {"max_lag": "none", **more.pop("limits", {})}  # how busy this machine is is nobody's promise
    return {
        "listeners": [{"address": "127.0.0.1:0"}],
        "management": {"address": "127.0.0.1:0"},
        "workers": 1,
        "limits": limits,
        "upstreams": {"api": {"servers": [f"http://127.0.0.1:{upstream_port}"]}},
        "routes": [{"upstream": "api", **route} for route in routes],
        **more,
    }


class Gateway:
    """``keystile serve`` in ``directory``; what it prints goes to files there. ``ports``: of its listeners.

    ``commands_file``: what all other commands read instead of gateway.yaml; it must name the same store.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, directory: Path, written: Mapping[str, Any], *, commands_file: Path | None = None) -> None:
        self.directory = directory
        self.file = directory / "gateway.yaml"
        self.file.write_text(yaml.safe_dump(dict(written)), encoding="utf-8")
        self.commands_file = commands_file or self.file
        self.out = directory / "serve.out"
        self.err = directory / "serve.err"
        self.said: list[Said] = []  # what all other commands said
        self.secrets: list[str] = []  # what all other commands showed
        self.ports: list[int] = []
        self.management = 0
    def start(self) -> None:
        with self.out.open("ab") as out, self.err.open("ab") as err:
            command = [sys.executable, "-m", "keystile", "-c", str(self.file), "serve"]
            self.process = subprocess.Popen(command, stdout=out, stderr=err, cwd=self.directory)

    def wait_until_ready(self) -> None:
        until(self._is_ready, within=30)
        said = self.out.read_text()
        self.ports = [int(port) for port in re.findall(r"^listening on \S+:(\d+)$", said, re.MULTILINE)]
        self.management = int(re.findall(r"^management on \S+:(\d+)$", said, re.MULTILINE)[0])

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.err.read_text()
        return "management on " in self.out.read_text()

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- the other commands -----------------------------------------------------------------------------

    def run(self, *words: str, stdin: str = "") -> Said:
        """What another command says while the gateway runs (or before)."""
        said = Said(*run_command(["-c", str(self.commands_file), *words], stdin, self.directory, timeout=30))
        self.said.append(said)
        return said

    def ask(self, *words: str, stdin: str = "") -> Any:
        """The JSON that a command prints, which must succeed."""
        said = self.run(*words, "--json", stdin=stdin)
        assert said.code == 0, said.err
        return json.loads(said.out)

    def create_account(self, email: str = OWNER) -> None:
        self.ask("accounts", "create", email, "--password-stdin", stdin=f"{PASSWORD}\n")

    def keys(self, what: str, name: str, *more: str, account: str = OWNER) -> dict[str, Any]:
        """``keystile keys WHAT``; a secret that it shows is remembered in ``secrets``."""
        answer: dict[str, Any] = self.ask("keys", what, "--account", account, "--name", name, *more)
        if "key" in answer:
            self.secrets.append(answer["key"])
        return answer

    def create_key(self, name: str, *scopes: str, more: Sequence[str] = (), account: str = OWNER) -> str:
        """A new key's secret."""
        given = [word for scope in scopes for word in ("--scope", scope)]
        return str(self.keys("create", name, *given, *more, account=account)["key"])

    def listed(self, name: str, account: str = OWNER) -> dict[str, Any]:
        """A key as ``keys list`` shows it."""
        (key,) = self.ask("keys", "list", "--account", account, "--name", name)
        assert isinstance(key, dict)
        return key

    def status(self) -> dict[str, Any]:
        """What ``keystile status`` is answered, asked on the same socket: it is what tests wait by."""
        (place,) = self.directory.glob("**/*.control")
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)  # a socket's address holds no deep path
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(f"/proc/self/fd/{folder}/{place.name}")
                connection.sendall(b"status")
                answer = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        finally:
            os.close(folder)
        assert isinstance(answer, dict)
        return answer

    def pids(self, *roles: str) -> list[int]:
        """Of its processes, or of those with one of these roles."""
        processes = self.status()["processes"]
        return [process["pid"] for process in processes if not roles or process["role"] in roles]

    # -- sockets ----------------------------------------------------------------------------------------

    def call(self, method: str = "GET", path: str = "/", **how: Any) -> tuple[int, bytes]:
        """Status and body of a call on a connection of its own; ``how`` as for ``http.client``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=30)
        try:
            return answered(connection, method, path, **how)
        finally:
            connection.close()

    def look(self, path: str) -> str:
        """What the management address says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.management, timeout=30)
        try:
            return answered(connection, "GET", path)[1].decode()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """A metric without labels."""
        (value,) = re.findall(rf"^keystile_{name} (\S+)$", self.look("/metrics"), re.MULTILINE)
        return float(value)


def iso(moment: float) -> str:
    """Unix seconds as a date that commands take."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def answered(connection: http.client.HTTPConnection, method: str, path: str, **how: Any) -> tuple[int, bytes]:
    """Status and body of a call on this connection, which stays open."""
    connection.request(method, path, **how)
    answer = connection.getresponse()
    return answer.status, answer.read()


@contextmanager
def serving(
    directory: Path, written: Mapping[str, Any], *, commands_file: Path | None = None
) -> Iterator[Gateway]:
    """A gateway that runs, with one account."""
    gateway = Gateway(directory, written, commands_file=commands_file)
    gateway.start()
    try:
        gateway.wait_until_ready()
        gateway.create_account()
        yield gateway
    finally:
        gateway.close()


# -- which relay serves a connection -----------------------------------------------------------------------


def relay_of(connection: socket.socket, relays: Sequence[int]) -> int | None:
    """The pid of the relay that has accepted ``connection`` (IPv4); None while none has."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    inode = _inode(local=theirs, remote=ours)
    return next((pid for pid in relays if _holds(pid, f"socket:[{inode}]")), None) if inode else None


def _inode(local: int, remote: int) -> int:
    """Of the socket between these ports, as the kernel lists it; 0 before it is accepted."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1][-4:], 16) == local and int(fields[2][-4:], 16) == remote:
            return int(fields[9])
    return 0


def _holds(pid: int, socket_name: str) -> bool:
    folder = f"/proc/{pid}/fd"
    return any(_target(f"{folder}/{name}") == socket_name for name in os.listdir(folder))


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed meanwhile
        return ""


@contextmanager
def connections_to_every_relay(gateway: Gateway) -> Iterator[dict[int, http.client.HTTPConnection]]:
    """A kept-alive connection to each relay, by its pid."""
    relays = gateway.pids("relay")
    found: dict[int, http.client.HTTPConnection] = {}
    opened: list[http.client.HTTPConnection] = []
    try:
        while len(found) < len(relays):
            assert len(opened) < 1000, f"only {len(found)} of {len(relays)} relays accept connections"
            connection = http.client.HTTPConnection("127.0.0.1", gateway.ports[0], timeout=30)
            connection.connect()
            opened.append(connection)
            found.setdefault(until(lambda c=connection: relay_of(c.sock, relays)), connection)  # type: ignore[misc]
        yield found
    finally:
        for connection in opened:
            connection.close()


# -- certificates ------------------------------------------------------------------------------------------


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and 127.0.0.1 that signs itself, and its key: two PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    validity = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed = validity.sign(key, hashes.SHA256())
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    certificate_file.write_bytes(signed.public_bytes(pem))
    key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's context that trusts this certificate and nothing else."""
    return ssl.create_default_context(cafile=certificate)
