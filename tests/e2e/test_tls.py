"""TLS of listeners with real clients: which versions are spoken, and that no answer is lost on the way."""

from __future__ import annotations

import re
import socket
import sqlite3
import ssl
import subprocess
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from tests.e2e.api import answering
from tests.e2e.running import Gateway, make_certificate, serving, settings, trusting
from tests.process.running import until


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def gateway(certificates: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Listeners: with the usual floor, TLS 1.3 only, and with old versions for a time."""

    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    certificate, key = map(str, certificates)
    tls = {"certificate": certificate, "private_key": key}
    listeners = [
        {"address": "127.0.0.1:0", "tls": tls},
        {"address": "127.0.0.1:0", "tls": {**tls, "minimum_version": "1.3"}},
        {"address": "127.0.0.1:0", "tls": {**tls, "legacy": {"minimum_version": "1.0", "retire_on": "2096-01-01"}}},
    ]
    with answering(fine) as port:
        written = settings(port, [{"path": "/any", "key_only": True}], listeners=listeners)
        with serving(tmp_path_factory.mktemp("gateway"), written) as gateway:
            yield gateway


# -- the floor ---------------------------------------------------------------------------------------------


def client_context(certificate: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that speaks one version only, and would take weak ciphers to do so."""
    context = trusting(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, version
        context.minimum_version = version
    return context


def spoken(context: ssl.SSLContext, port: int) -> str | None:
    """The version of TLS that this client and that port agree on; raises SSLError."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        # With TLS 1.3 a server refuses after the client thinks all is well: only an answer is an answer.
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
        return connection.version()


def agreed_in_memory(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """The version that two contexts agree on, without sockets."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    open_ends = list(ends)
    for _ in range(10):
        for end in list(open_ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_ends.remove(end)
    assert not open_ends
    return ends[0].version()


def test_the_old_client_of_these_tests_really_speaks_an_old_version(certificates: tuple[Path, Path]) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificates)
    server.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        server.minimum_version = ssl.TLSVersion.TLSv1
        old = client_context(certificates[0], ssl.TLSVersion.TLSv1_1)
    assert agreed_in_memory(old, server) == "TLSv1.1"


@pytest.mark.parametrize(
    ("listener", "version"),
    [(0, ssl.TLSVersion.TLSv1_1), (1, ssl.TLSVersion.TLSv1_1), (1, ssl.TLSVersion.TLSv1_2)],
)
def test_a_client_below_the_floor_is_refused(
    gateway: Gateway, certificates: tuple[Path, Path], listener: int, version: ssl.TLSVersion
) -> None:
    with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|EOF"):  # an alert, or none and the end
        spoken(client_context(certificates[0], version), gateway.ports[listener])


@pytest.mark.parametrize(
    ("listener", "version", "name"),
    [
        (0, ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (0, ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        (1, ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ],
)
def test_a_client_at_the_floor_or_above_is_served(
    gateway: Gateway, certificates: tuple[Path, Path], listener: int, version: ssl.TLSVersion, name: str
) -> None:
    assert spoken(client_context(certificates[0], version), gateway.ports[listener]) == name


def test_old_versions_are_served_for_a_time_and_who_used_them_is_known(
    gateway: Gateway, certificates: tuple[Path, Path]
) -> None:
    """In real processes, under the OpenSSL configuration that they start with."""
    secret = gateway.create_key("old till")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]
    for version in (*old, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context(certificates[0], version)
        with (
            socket.create_connection(("127.0.0.1", gateway.ports[2]), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(
                f"GET /any HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {secret}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert (b"\r\nSunset: Sun, 01 Jan 2096 00:00:00 GMT\r\n" in answer) == (version in old)

    def seen() -> list[tuple[str, str, int]]:
        with closing(sqlite3.connect(gateway.directory / "keystile.db")) as store:
            return store.execute("SELECT version, address, requests FROM old_tls ORDER BY version").fetchall()

    until(lambda: len(seen()) == 2)
    assert seen() == [("1.0", "127.0.0.1", 1), ("1.1", "127.0.0.1", 1)]


def test_the_end_of_each_certificate_is_a_metric(gateway: Gateway, certificates: tuple[Path, Path]) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.management}/metrics", timeout=10) as answer:
        found = re.findall(
            r'^keystile_certificate_expiry_timestamp_seconds\{place="([^"]+)",file="([^"]+)"\} (\d+)$',
            answer.read().decode(),
            re.MULTILINE,
        )
    ends = x509.load_pem_x509_certificate(certificates[0].read_bytes()).not_valid_after_utc.timestamp()
    assert found == [("listener 127.0.0.1:0", str(certificates[0]), f"{ends:.0f}")]


@pytest.mark.parametrize(("group", "fits"), [("X25519", True), ("P-256", True), ("P-521", False), ("X448", False)])
def test_groups_are_those_of_the_profile(
    gateway: Gateway, certificates: tuple[Path, Path], group: str, fits: bool
) -> None:
    """Python has no call for them: only the configuration that processes start with can say so."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.ports[0]}", "-groups", group]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30)
    assert (done.returncode == 0) is fits, done.stdout.decode() + done.stderr.decode()


# -- answers -----------------------------------------------------------------------------------------------


def answers_to_one_write(context: ssl.SSLContext, port: int, data: bytes) -> bytes:
    """What comes back when a request is sent together with the last bytes of the handshake, until the end."""
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = context.wrap_bio(received, to_send, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        while True:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(to_send.read())
                received.write(connection.recv(65536))
            else:
                break
        end.write(data)
        connection.sendall(to_send.read())
        answer = b""
        while True:
            try:
                piece = end.read(65536)
            except ssl.SSLWantReadError:
                received.write(connection.recv(65536))
                continue
            if not piece:
                return answer
            answer += piece


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(
    gateway: Gateway, certificates: tuple[Path, Path], version: ssl.TLSVersion
) -> None:
    context = client_context(certificates[0], version)
    secret = gateway.create_key(f"at once with {version.name}")
    request = "GET /any HTTP/1.1\r\nHost: localhost\r\n{}Connection: close\r\n\r\n"
    for field, status in (("", b"401"), (f"X-Api-Key: {secret}\r\n", b"200")):
        for _ in range(3):  # on a new connection upstream and on one that is there already
            answer = answers_to_one_write(context, gateway.ports[0], request.format(field).encode())
            assert answer.startswith(b"HTTP/1.1 " + status)


def test_every_answer_of_a_kept_alive_connection_comes(gateway: Gateway, certificates: tuple[Path, Path]) -> None:
    secret = gateway.create_key("again and again")
    request = f"GET /any HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {secret}\r\n\r\n".encode()
    for _ in range(3):
        with (
            socket.create_connection(("127.0.0.1", gateway.ports[0]), timeout=10) as plain,
            trusting(certificates[0]).wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            for _ in range(5):
                connection.sendall(request)
                answer = b""
                while not answer.endswith(b"\r\n\r\nfine"):
                    answer += connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 ")
