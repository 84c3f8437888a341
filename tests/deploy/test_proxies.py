"""The lines of docs/deploy.md in real HAProxy and nginx, in front of a real gateway: whose address arrives.

The blocks are taken from the page; only addresses, ports and files are put in their place.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.reading import PAGE, blocks, program
from tests.differential.servers import free_ports
from tests.e2e.running import Gateway, answered, make_certificate, settings, trusting
from tests.lacking import lacks
from tests.process.running import until

BALANCER, CALLER, STRANGER = "127.0.0.1", "127.0.0.7", "127.0.0.9"
ROUTES = [{"path": "/v4/contacts", "methods": ["GET"], "public": True}]
NGINX_AROUND = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
{module}events {{ worker_connections 64; }}
"""
NGINX_HTTP = """access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;"""
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclass(frozen=True, slots=True)
class Ground:
    """A gateway with the page's two listeners, and its certificate. ``tcp``, ``http``: their ports."""

    gateway: Gateway
    certificate: Path

    @property
    def tcp(self) -> int:
        return self.gateway.ports[0]

    @property
    def http(self) -> int:
        return self.gateway.ports[1]

    def logged(self) -> list[str]:
        """The callers' addresses in the access log, without those of health checks."""
        lines = [json.loads(line) for line in self.gateway.out.read_text().splitlines() if line.startswith("{")]
        return [line["address"] for line in lines if line["path"] == "/v4/contacts"]


def placed(text: str, places: Mapping[str, str]) -> str:
    """``text`` with what is of another machine put in its place; all of it must be there."""
    for there, here in places.items():
        assert there in text, f"{there!r} does not stand in what the page shows"
        text = text.replace(there, here)
    return text


def written(api_port: int, trusted: str) -> dict[str, Any]:
    """The page's two gateways in one, with the only balancer at ``trusted``."""
    balancers = {"[10.0.0.2/32, 10.0.0.3/32]": f"[{trusted}]"}
    [tcp] = blocks("The gateway behind TCP", "yaml")
    [plain] = blocks("The gateway behind HTTP", "yaml")
    files = {"0.0.0.0:8443": "127.0.0.1:0", "tls/cert.pem": "cert.pem", "tls/key.pem": "key.pem", "15s": "0s"}
    both = [
        yaml.safe_load(placed(tcp, {**balancers, **files})),
        yaml.safe_load(placed(plain, {**balancers, "10.0.0.5:8080": "127.0.0.1:0"})),
    ]
    listeners = [listener for one in both for listener in one["listeners"]]
    return settings(api_port, ROUTES, **{**both[0], **both[1], "listeners": listeners})


@contextmanager
def demo_api() -> Iterator[int]:
    """The demo's API, which says what address the gateway told it; its port."""
    command = [sys.executable, "-m", "keystile.cli.demo_api"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"]
        process.stdin.close()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    directory = tmp_path_factory.mktemp("behind")
    certificate, _ = make_certificate(directory)
    with demo_api() as port:
        gateway = Gateway(directory, written(port, f"{BALANCER}/32"))
        gateway.start()
        try:
            gateway.wait_until_ready()
            yield Ground(gateway, certificate)
        finally:
            gateway.close()


@contextmanager
def balancing(command: list[str], port: int, folder: Path) -> Iterator[int]:
    """A balancer that listens at ``port``."""
    with (folder / "balancer.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, (folder / "balancer.log").read_text()
            yield port
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def haproxy(ground: Ground, folder: Path) -> tuple[list[str], int]:
    """HAProxy by the page, and the port that callers come to."""
    tool = program("haproxy", "apt-get install haproxy")
    [port] = free_ports(1)
    [text] = blocks("HAProxy in front of it", "haproxy")
    file = folder / "haproxy.cfg"
    file.write_text(placed(text, {"bind :443": f"bind 127.0.0.1:{port}", "10.0.0.5:8443": f"127.0.0.1:{ground.tcp}"}))
    checked = subprocess.run([tool, "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
    return [tool, "-db", "-f", str(file)], port


def nginx_stream(ground: Ground, folder: Path) -> tuple[list[str], int]:
    """nginx's stream module by the page, and the port that callers come to."""
    tool = program("nginx", "apt-get install nginx")
    if not STREAM_MODULE.exists():
        lacks("nginx has no stream module: apt-get install libnginx-mod-stream")
    [port] = free_ports(1)
    [text] = blocks("nginx in front of it", "nginx")
    text = placed(text, {"listen 443": f"listen 127.0.0.1:{port}", "10.0.0.5:8443": f"127.0.0.1:{ground.tcp}"})
    return _nginx(tool, text, f"load_module {STREAM_MODULE}; ", folder), port


def nginx_http(ground: Ground, folder: Path) -> tuple[list[str], int]:
    """nginx that ends TLS, by the page, and the port that callers come to."""
    tool = program("nginx", "apt-get install nginx")
    [port] = free_ports(1)
    [text] = blocks("The gateway behind HTTP", "nginx")
    places = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "10.0.0.5:8080": f"127.0.0.1:{ground.http}",
        "tls/cert.pem": str(ground.certificate),
        "tls/key.pem": str(ground.certificate.with_name("key.pem")),
        "http {": "http { " + NGINX_HTTP.format(folder=folder),
    }
    return _nginx(tool, placed(text, places), "", folder), port


def _nginx(tool: str, text: str, module: str, folder: Path) -> list[str]:
    file = folder / "nginx.conf"
    file.write_text(NGINX_AROUND.format(folder=folder, module=module) + text)
    return [tool, "-c", str(file), "-p", str(folder)]


def told(port: int, certificate: Path, source: str = CALLER, **fields: str) -> str:
    """Whose call the API was told it is (the first of X-Forwarded-For), when ``source`` calls over TLS."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=30, source_address=(source, 0), context=trusting(certificate)
    )
    try:
        status, body = answered(connection, "GET", "/v4/contacts", headers=fields)
    finally:
        connection.close()
    assert status == 200, body
    return str(json.loads(body)["caller"]["address"]).partition(",")[0]


@pytest.mark.parametrize("balancer", [haproxy, nginx_stream, nginx_http])
def test_the_callers_address_arrives_and_a_made_up_one_does_not(ground: Ground, tmp_path: Path, balancer: Any) -> None:
    command, port = balancer(ground, tmp_path)
    made_up = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
    before = len(ground.logged())
    with balancing(command, port, tmp_path):
        assert told(port, ground.certificate) == CALLER
        assert told(port, ground.certificate, STRANGER, **made_up) == STRANGER
        # What the API is told, and what the gateway itself goes by.
        callers = until(lambda: len(ground.logged()) >= before + 2 and ground.logged()[before:])
    assert callers == [CALLER, STRANGER]


def test_haproxys_check_finds_the_gateway_well(ground: Ground, tmp_path: Path) -> None:
    """It begins with a header, speaks TLS and asks the health path: one of them wrong, and the server is taken out."""
    command, port = haproxy(ground, tmp_path)
    file = tmp_path / "haproxy.cfg"
    admin = tmp_path / "haproxy.sock"
    file.write_text(f"global\n    stats socket {admin}\n" + file.read_text())
    with balancing(command, port, tmp_path):
        assert until(lambda: "L7OK" in _asked(admin, b"show stat\n"))


def _asked(path: Path, question: bytes) -> str:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        asking.sendall(question)
        return b"".join(iter(lambda: asking.recv(65536), b"")).decode()


def hello() -> bytes:
    """What a TLS client says first."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(coming, going, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return going.read()


def said_to(port: int, source: str, first: bytes) -> bytes:
    """What ``source`` hears of the gateway before the end, when it begins with these bytes."""
    with socket.create_connection(("127.0.0.1", port), 30, source_address=(source, 0)) as connection:
        heard = b""
        with suppress(ConnectionError):
            connection.sendall(first)
            while part := connection.recv(65536):
                heard += part
        return heard


@pytest.mark.parametrize(
    ("source", "header"),
    [(STRANGER, b""), (STRANGER, b"PROXY TCP4 203.0.113.9 127.0.0.1 1 443\r\n"), (BALANCER, b"")],
    ids=["a stranger", "a stranger with a header that he made up", "the balancer without a header"],
)
def test_who_does_not_come_as_the_page_says_is_closed_without_a_word(
    ground: Ground, source: str, header: bytes
) -> None:
    assert said_to(ground.tcp, source, header + hello()) == b""


def test_a_header_that_the_listener_does_not_expect_is_a_bad_request(ground: Ground) -> None:
    first = b"PROXY TCP4 127.0.0.7 127.0.0.1 1 443\r\nGET /v4/contacts HTTP/1.1\r\nHost: a\r\n\r\n"
    assert said_to(ground.http, BALANCER, first).startswith(b"HTTP/1.1 400 ")


def test_every_metric_that_the_page_names_is_there(ground: Ground) -> None:
    named = set(re.findall(r"`(keystile_\w+(?:\{.*?\})?)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) == 3
    metrics = ground.gateway.look("/metrics")
    assert [name for name in named if not re.search(rf"\n{re.escape(name)}[ {{]", metrics)] == []


def test_the_trap_is_one(ground: Ground, tmp_path: Path) -> None:
    """With a whole network trusted, a caller who lives in it says who he is, though the balancer names him rightly."""
    command, port = haproxy(ground, tmp_path)
    gateway = ground.gateway
    before = gateway.file.read_text()
    try:
        gateway.file.write_text(yaml.safe_dump({**yaml.safe_load(before), "trusted_proxies": ["127.0.0.0/8"]}))
        assert gateway.run("reload").code == 0
        with balancing(command, port, tmp_path):
            said = {"X-Forwarded-For": "203.0.113.9"}
            assert told(port, ground.certificate, **said) == "203.0.113.9"
    finally:
        gateway.file.write_text(before)
        assert gateway.run("reload").code == 0


def test_every_block_of_lines_on_the_page_is_tried() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("```haproxy\n") == 1
    assert text.count("```nginx\n") == 2
    assert text.count("```yaml\n") == 2
