"""A secret is in clear in the answer that shows it, and nowhere else: not in a file, an output or a process."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from keystile.keys.secret import has_check_digits
from tests.e2e.api import answering
from tests.e2e.running import OWNER, PASSWORD, Gateway, Said, iso, serving, settings
from tests.process.running import until

HEADERS = ["X-Api-Key", "Authorization"]
PARAMETER = "apikey"


@dataclass(slots=True)
class Run:
    """What was made, what was said, and what was left after a run. ``places``: what is searched, by name."""

    gateway: Gateway
    secrets: list[str]
    places: dict[str, bytes] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    upstream: list[bytes] = field(default_factory=list)

    def keep(self, name: str, content: bytes) -> None:
        """Remember a place; one that was seen before is kept too."""
        self.places[f"{len(self.places)} {name}"] = content

    def of(self, name: str) -> bytes:
        """All that was kept of the places of this name."""
        return b"\n".join(content for place, content in self.places.items() if place.split(" ", 1)[1] == name)


def forms(secret: str) -> list[bytes]:
    """How a secret could be written: as it is, in lower case, as the bytes it stands for, in wide characters.

    In lower case it could be any digest, unless its check digits say what it is.
    """
    lower = [secret.lower().encode()] if has_check_digits(secret.encode()) else []
    return [secret.encode(), bytes.fromhex(secret), secret.encode("utf-16-le"), *lower]


def found_in(content: bytes, secrets: list[str]) -> list[str]:
    """The hints of the secrets that stand in there, whole or in so large a part that the rest can be tried."""
    return [
        secret[-5:]
        for secret in secrets
        if any(form in content for form in forms(secret))
        or secret[:80].encode() in content
        or secret[16:].encode() in content
    ]


# -- what is sent ------------------------------------------------------------------------------------------


def raw(port: int, data: bytes) -> tuple[int, bytes]:
    """Status and whole answer to bytes as they are; 0 where nothing came."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer[9:12] or 0), answer


def request(target: str, *fields: str, method: str = "GET", body: str = "") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", body]).encode()


def mistyped(secret: str) -> str:
    return secret[:40] + ("0" if secret[40] != "0" else "1") + secret[41:]


def encoded(text: str) -> str:
    """With every character percent-encoded."""
    return "".join(f"%{ord(character):02X}" for character in text)


def requests_with(secret: str) -> list[bytes]:
    """Requests that hold a key wherever somebody may put one, in the right place and in wrong ones."""
    good, wrong = f"X-Api-Key: {secret}", mistyped(secret)
    return [
        request("/any", good),
        request("/any", f"Authorization: Bearer {secret}"),
        request(f"/any?{PARAMETER}={secret}"),
        request(f"/any?{PARAMETER}={secret}&more=1", good),  # twice
        request(f"/any?token={secret}"),
        request(f"/any?token={secret}", good),
        request(f"/any?%61pikey={secret}", good),
        request(f"/any?%2561pikey={secret}", good),
        request(f"/any?x[{PARAMETER}]={secret}", good),
        request(f"/any?x={secret.lower()}", good),
        request(f"/any?{secret}", good),
        request(f"/any?{secret}=1&a", good),
        request(f"/any?a=1;{PARAMETER}={secret}", good),
        request(f"/any?a={encoded(secret)}", good),
        request(f"/any?a={encoded(encoded(secret))}", good),
        request(f"/any?next=%2Fx%3F{PARAMETER}%3D{secret}", good),
        request(f"/any?{'a' * 4000}&b={secret}", good),
        request(f"/nowhere?{PARAMETER}={secret}#x", good),
        request(f"/files/{secret}"),
        request(f"/files/{secret}", good),
        request(f"/files/%{ord(secret[0]):X}{secret[1:]}", good),
        request(f"/files/{secret.lower()}", good),
        request(f"/files/AB{secret}CD", good),
        request(f"/files/{secret}%zz", good),
        request(f"/nowhere/{secret}/{secret}", good),
        request(f"/{secret}/../any", good),
        request("/any", f"Cookie: session={secret}"),
        request("/any", f"Cookie: session={secret}", good),
        request("/any", good, method="POST", body=f'{{"key": "{secret}"}}'),
        request("/any", method="POST", body=secret),
        request("/any", f"X-Api-Key: {wrong}"),
        request("/any", f"Authorization: Basic {secret}"),
        request("/any", f"X-Request-Id: {secret}", good),
        request("/any", f"Origin: https://{secret}.example", good),
        request("/any", f"{secret}: 1", good),
        request("/any", f"Bad Name: {secret}"),
        request("/any", good, good),
        request("/view", good),  # lacks the scope
        request("/any", good, method=secret),
        request("/any", good, method="OPTIONS"),
        request("/broken", good),  # its upstream is not there
        f"{secret}\r\n\r\n".encode(),
        f"GET http://{secret}@localhost/any HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
        f"GET /any HTTP/1.1\r\nHost: {secret}\r\n{good}\r\nConnection: close\r\n\r\n".encode(),
        f"GET /any HTTP/1.1\r\nHost: a\r\n{good}\r\nContent-Length: {secret}\r\n\r\n".encode(),
        f"POST /any HTTP/1.1\r\nHost: a\r\n{good}\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n".encode(),
    ]


def requests_of_management(secret: str) -> list[bytes]:
    """The same people at the wrong door."""
    return [
        request(f"/metrics?key={secret}"),
        request(f"/{secret}"),
        request("/health", f"X-Api-Key: {secret}"),
        request("/health", f"Bad Name: {secret}"),
        request("/health", f"X-Bad: {secret}\x00"),
        request("/", f"Cookie: {secret}", method="POST", body=secret),
        request("/", method=secret),
        f"GET /\x01{secret} HTTP/1.1\r\n\r\n".encode(),
        f"{secret}\r\n\r\n".encode(),
    ]


# -- the run -----------------------------------------------------------------------------------------------


def shown(data: bytes, secret: str) -> str:
    """A request as a name."""
    return data.decode("latin-1").replace(secret, "SECRET").replace("\r\n", "|")


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.name, file.read_bytes()


def look_around(run: Run) -> None:
    """Everything that can be seen of a gateway while it runs."""
    gateway = run.gateway
    for path in ("/metrics", "/health", "/"):
        run.keep(path, gateway.look(path).encode())
    for words in (["status"], ["status", "--json"], ["keys", "list"], ["keys", "list", "--json"], ["accounts", "list"]):
        run.keep(" ".join(words), _said(gateway.run(*words)))
    for pid in gateway.pids():
        for name in ("cmdline", "environ", "comm"):
            run.keep(f"process {name}", Path(f"/proc/{pid}/{name}").read_bytes())
    for name, content in files_below(gateway.directory):
        run.keep(name, content)


def _said(said: Said) -> bytes:
    return f"{said.out}\n{said.err}".encode()


def keep_what_commands_said(run: Run, allowed: int) -> None:
    """All outputs of all commands, less those ``allowed`` ones that are there to show a secret."""
    showing = [said for said in run.gateway.said if any(secret in said.out for secret in run.gateway.secrets)]
    assert len(showing) == allowed
    for said in run.gateway.said:
        shown = said in showing
        run.keep("command's errors", said.err.encode())
        if not shown:
            run.keep("command's output", said.out.encode())
        else:
            assert sum(said.out.count(secret) for secret in run.gateway.secrets) == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    received: list[bytes] = []

    async def remember(request: web.Request) -> web.Response:
        received.append(repr(request.raw_headers).encode() + request.raw_path.encode())
        return web.Response(text="fine")

    with answering(remember) as port:
        written = settings(
            port,
            [
                {"path": "/any", "methods": ["GET", "POST"], "key_only": True},
                {"path": "/files/{name}", "key_only": True},
                {"path": "/view", "scope": "View"},
                {"path": "/broken", "key_only": True, "upstream": "broken"},
            ],
            workers=2,
            keys={"headers": HEADERS, "query_parameter": PARAMETER},
            access_log={"to": "logs/access.log", "fields": ["default", "query", "trace_id", "listener", "cipher"]},
            telemetry={"trace": "begin"},
        )
        written["upstreams"]["broken"] = {"servers": ["http://127.0.0.1:9"]}
        folder = tmp_path_factory.mktemp("gateway")
        (folder / "logs").mkdir()
        with serving(folder, written) as gateway:
            yield carried_out(Run(gateway, gateway.secrets, upstream=received))


def carried_out(run: Run) -> Run:
    """Keys in all states, requests of all kinds, a relay that is killed; then the end."""
    gateway = run.gateway
    kept = gateway.create_key("kept")
    deleted = gateway.create_key("deleted")
    changed = gateway.create_key("changed")
    overlapping = gateway.create_key("overlapping")
    end = time.time() + 10  # a command may take seconds to begin
    expired = gateway.create_key("expired", more=["--expires", iso(end)])
    imported = hashlib.sha512(b"issued elsewhere").hexdigest()[:96].upper()
    digest = hashlib.sha256(imported.encode()).hexdigest()
    gateway.keys("import", "imported", "--digest", digest, "--hint", imported[-5:])
    gateway.keys("edit", "kept", "--rename", "kept anew")
    new = gateway.keys("change", "changed")["key"]
    newer = gateway.keys("change", "overlapping", "--overlap", "1h")["key"]
    gateway.keys("delete", "deleted")
    gateway.run("accounts", "password", OWNER, "--password-stdin", stdin=f"{PASSWORD} anew\n")
    mistakes_at_the_command_line(run, kept)
    run.secrets = [*gateway.secrets, imported]

    time.sleep(max(0.0, end - time.time()))
    used = [kept, deleted, changed, new, overlapping, newer, expired, imported]
    for secret in used:
        for data in requests_with(secret):
            status, answer = raw(gateway.ports[0], data)
            run.statuses.append(status)
            run.keep(f"answer to {shown(data, secret)}", answer)
        for data in requests_of_management(secret):
            run.keep(f"management's answer to {shown(data, secret)}", raw(gateway.management, data)[1])
    look_around(run)
    relay = gateway.pids("relay")[0]
    kill_in_the_middle_of_a_request(gateway, kept, relay)
    until(lambda: len(gateway.pids("relay")) == 2 and relay not in gateway.pids("relay"))
    look_around(run)
    assert gateway.stop() == 0
    for name, content in files_below(gateway.directory):
        run.keep(name, content)
    keep_what_commands_said(run, allowed=7)
    return run


def mistakes_at_the_command_line(run: Run, secret: str) -> None:
    """A key where something else was asked for: what is said of it must not say it again."""
    named = ["--account", OWNER, "--name"]
    for words in (
        ["keys", "import", *named, "mistaken", "--digest", secret, "--hint", secret[-5:]],
        ["keys", "import", *named, "mistaken", "--digest", "00" * 32, "--hint", secret],
        ["keys", "create", *named, "mistaken", "--allow", secret],
    ):
        assert run.gateway.run(*words).code == 1


def kill_in_the_middle_of_a_request(gateway: Gateway, secret: str, relay: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports[0], timeout=20)
    connection.putrequest("POST", "/any")
    connection.putheader("X-Api-Key", secret)
    connection.putheader("Content-Length", "1000")
    connection.endheaders(secret.encode())
    os.kill(relay, signal.SIGKILL)
    connection.close()


# -- what must hold ----------------------------------------------------------------------------------------


def places_with_secrets(run: Run, *, beginning: str = "") -> str:
    """The names of the places, one a line, in which a secret was found."""
    names = {place.split(" ", 1)[1] for place, content in run.places.items() if found_in(content, run.secrets)}
    return "\n".join(sorted(name for name in names if name.startswith(beginning)))


def test_no_secret_is_in_a_file_of_the_store(run: Run) -> None:
    assert not places_with_secrets(run, beginning="keystile")


def test_no_secret_is_in_the_access_log(run: Run) -> None:
    assert not places_with_secrets(run, beginning="access.log")


def test_no_secret_is_in_an_answer_of_the_gateway(run: Run) -> None:
    assert not places_with_secrets(run, beginning="answer")


def test_no_secret_is_in_an_answer_of_management(run: Run) -> None:
    assert not places_with_secrets(run, beginning="management's answer")


def test_no_secret_is_in_what_the_processes_print(run: Run) -> None:
    assert not places_with_secrets(run, beginning="serve.")


def test_no_secret_is_in_what_commands_print_but_once_where_it_is_shown(run: Run) -> None:
    assert not places_with_secrets(run, beginning="command's")


def test_no_secret_is_in_any_other_place(run: Run) -> None:
    seen = ("keystile", "access.log", "answer", "management's answer", "serve.", "command's")
    found = places_with_secrets(run).splitlines()
    assert not [name for name in found if not name.startswith(seen)]


def test_no_password_is_in_any_place(run: Run) -> None:
    assert not [place for place, content in run.places.items() if PASSWORD.encode() in content]


def test_the_search_finds_what_is_there(run: Run) -> None:
    secret = run.secrets[0]
    for hidden in (*forms(secret), secret[:80].encode(), secret[16:].encode()):
        assert found_in(b"before" + hidden + b"after", run.secrets) == [secret[-5:]]


def test_the_run_was_one(run: Run) -> None:
    """Without this, a gateway that answered nothing would have kept every secret."""
    assert len(run.secrets) == 8
    assert {200, 400, 401, 403, 404, 405, 502} <= set(run.statuses)
    lines = run.of("access.log").splitlines()
    assert any(b'"query":"token=[redacted]"' in line for line in lines)
    assert len(lines) > len(run.statuses) // 2
    for name in ("keystile.db", "keystile.db-wal", "keystile-passwords.db", "serve.err", "/metrics", "/health"):
        assert run.of(name), name
    assert b" was killed" in run.of("serve.err") or b"SIGKILL" in run.of("serve.err")
    assert Counter(place.split(" ", 1)[1] for place in run.places)["process environ"] == 8


def test_a_key_in_a_path_is_logged_by_its_hint(run: Run) -> None:
    log = run.of("access.log").decode()
    for secret in run.secrets:
        assert f'"path":"/files/[key \\u2026{secret[-5:]}]"' in log


def test_the_upstream_gets_no_key_where_keys_are_read(run: Run) -> None:
    assert run.upstream
    for received in run.upstream:
        assert not re.search(rf"[?&]{PARAMETER}=".encode(), received)  # elsewhere it is another parameter's text
        assert not re.search(rb"(?i)b'(x-api-key|authorization)'", received)
