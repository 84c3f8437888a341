"""Health checks: thresholds without sockets, questions with real servers."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import HealthCheck, Server
from keystile.limits.servers import DOWN, UNKNOWN, UP
from keystile.management.probing import Prober, Tally, Target, probe
from keystile.wire import unix
from keystile.wire.certificates import self_signed
from keystile.wire.client_context import client_context
from tests.relay.running import until
from tests.wire.peers import RecordedConnection, RecordingUpstream

CHECK = HealthCheck("/health?full=1", interval=5.0, timeout=5.0, healthy_after=2, unhealthy_after=3)


def target(port: int = 80, at: int = 0, check: HealthCheck = CHECK, **more: Any) -> Target:
    return Target(at, "api", Server("127.0.0.1", port), check, "api.internal", **more)


# -- thresholds ------------------------------------------------------------------------------------------


def test_answers_in_a_row_decide_and_one_of_the_other_kind_begins_anew() -> None:
    tally = Tally(CHECK)
    assert tally.state == UNKNOWN
    assert [tally.heard(well) for well in (True, False, True, True)] == [False, False, False, True]
    assert tally.state == UP
    assert [tally.heard(well) for well in (False, False, True, False, False)] == [False] * 5
    assert tally.state == UP
    assert tally.heard(False)
    assert tally.state == DOWN
    assert [tally.heard(well) for well in (True, False, True, True)] == [False, False, False, True]
    assert tally.state == UP


def test_each_result_is_published_when_it_changes_something_with_nothing_of_servers_that_nobody_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[bytes] = []
    one, other = target(1, at=1), target(2, at=3)
    prober = Prober([one, other], 5, said.append, {})
    for _ in range(2):
        prober.heard(one, "")
    for _ in range(3):
        prober.heard(other, "no answer within 2 s")
    for _ in range(2):
        prober.heard(other, "")
    assert said == [
        bytes([UNKNOWN, UP, UNKNOWN, UNKNOWN, UNKNOWN]),
        bytes([UNKNOWN, UP, UNKNOWN, DOWN, UNKNOWN]),
        bytes([UNKNOWN, UP, UNKNOWN, UP, UNKNOWN]),
    ]
    assert caplog.messages == [
        "upstream api: 127.0.0.1:2 is down: no answer within 2 s",
        "upstream api: 127.0.0.1:2 is up again",
    ]


def test_another_configuration_goes_on_counting_where_the_question_is_the_same() -> None:
    first = Prober([target(1), target(2, at=1)], 2, lambda _: None, {})
    for _ in range(3):
        first.heard(target(1), "down")
        first.heard(target(2, at=1), "down")
    said: list[bytes] = []
    other = HealthCheck("/other")
    heavier = replace(target(2), server=replace(target(2).server, weight=7))
    second = Prober([heavier, target(1, at=1, check=other)], 2, said.append, first.tallies)
    second.publish()
    assert said == [bytes([DOWN, UNKNOWN])]


async def test_every_server_is_asked_again_and_again_and_signs_of_life_are_given() -> None:
    said: list[bytes] = []
    asked: list[int] = []

    async def ask(of: Target) -> str:
        asked.append(of.server.port)
        return "" if of.server.port == 1 else "ill"

    check = HealthCheck("/h", interval=0.02, timeout=0.01, healthy_after=1, unhealthy_after=1)
    prober = Prober([target(1, 0, check), target(2, 1, check)], 2, said.append, {}, ask)
    running = asyncio.create_task(prober.run())
    await until(lambda: asked.count(1) > 5 and asked.count(2) > 5)
    assert said[-1] == bytes([UP, DOWN])
    before = len(said)
    await until(lambda: len(said) > before)  # though nothing changes
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# -- questions -----------------------------------------------------------------------------------------------


async def test_a_good_answer_is_one_whose_status_is_in_range_and_the_question_is_a_get_of_the_path() -> None:
    async with RecordingUpstream() as upstream:
        assert await probe(target(upstream.port)) == ""
        [sent] = upstream.requests
        assert sent.startswith(b"GET /health?full=1 HTTP/1.1\r\nHost: api.internal\r\n")
        assert b"User-Agent: keystile-health-check\r\n" in sent
        await until(lambda: upstream.connections[0].closed.is_set())
        narrow = HealthCheck("/h", statuses=((204, 204), (300, 399)))
        assert await probe(target(upstream.port, check=narrow)) == "it answers with 200"


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_redirects_are_an_answer_and_are_not_followed(status: int) -> None:
    async with RecordingUpstream() as elsewhere:
        to = b"HTTP/1.1 %d Moved\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % (
            status, elsewhere.port,
        )  # fmt: skip
        async with RecordingUpstream(to) as upstream:
            assert await probe(target(upstream.port)) == ""
            only = HealthCheck("/h", statuses=((200, 299),))
            assert await probe(target(upstream.port, check=only)) == f"it answers with {status}"
        assert not elsewhere.connections


async def _endless(connection: RecordedConnection, _: bytes) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await connection.send(b"x" * 65536)


async def _endless_head(connection: RecordedConnection, _: bytes) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await connection.send(b"X-Long: " + b"x" * 65536)


async def _silent(connection: RecordedConnection, _: bytes) -> None:
    await connection.closed.wait()


async def _cut(connection: RecordedConnection, _: bytes) -> None:
    connection.cut()


async def test_of_an_answer_without_end_only_the_head_is_read() -> None:
    async with RecordingUpstream(_endless) as upstream:
        assert await probe(target(upstream.port)) == ""
        await until(lambda: upstream.connections[0].closed.is_set())


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (_endless_head, "ClientResponseError"),
        (_silent, "no answer within 0.2 s"),
        (_cut, "ClientOSError"),
        (b"220 mail.example ESMTP key=19D9SECRET\r\n\r\n", "ClientResponseError"),
    ],
)
async def test_what_is_wrong_is_told_in_words_that_hold_nothing_a_server_wrote(
    answer: bytes | Callable[[RecordedConnection, bytes], Awaitable[None]], trouble: str
) -> None:
    timeout = 0.2 if answer is _silent else 20.0
    async with RecordingUpstream(answer) as upstream:
        said = await probe(target(upstream.port, check=HealthCheck("/h", interval=30.0, timeout=timeout)))
        assert said.startswith(trouble)
        assert "SECRET" not in said


async def test_nobody_there_is_told() -> None:
    async with RecordingUpstream() as upstream:
        port = upstream.port
    assert (await probe(target(port))).startswith("ClientConnectorError")


async def test_a_server_on_a_unix_socket_is_asked_however_deep_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(serve, sock=unix.bound(folder / "s"))
    of = Target(0, "api", Server("localhost", 0, unix=folder / "s"), CHECK, "localhost")
    assert await probe(of) == ""
    assert b"Host: localhost\r\n" in heads[0]
    server.close()


async def test_over_tls_servers_are_verified_as_for_requests(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    for file, pem in zip((certificate, key), self_signed(["api.internal"], 2), strict=True):
        file.write_bytes(pem)
    upstream = RecordingUpstream()
    upstream.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    upstream.context.load_cert_chain(certificate, key)
    async with upstream:
        server = Server("127.0.0.1", upstream.port, tls=True)

        def of(context: ssl.SSLContext, name: str | None) -> Target:
            return Target(0, "api", server, CHECK, "api.internal", context, name)

        trusting = client_context(ca=certificate)
        assert await probe(of(trusting, "api.internal")) == ""
        assert "Certificate" in await probe(of(trusting, None))  # it is not for 127.0.0.1
        assert "Certificate" in await probe(of(client_context(), "api.internal"))
        assert await probe(of(client_context(verify=False), None)) == ""
