"""The gate on both loops, with OpenSSL's own client at every version, on both sides of the date."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvloop

from keystile.wire.certificates import self_signed
from keystile.wire.tls import Pair, legacy_context, profile_context
from keystile.wire.tls_gate import ATTEMPT, Attempt, Certificates, CertificateSet, Done, Gate, Reason, Refused
from keystile.wire.tls_policy import Legacy, Policy, Version

DAY = 1_800_000_000.0
POLICY = Policy(Version.TLS_1_2, Legacy(Version.TLS_1_0, DAY))
PAIRS = {name: Pair(*self_signed([name], 5)) for name in ("a.example", "*.b.example")}
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: list[Done | Refused] = []

    def started(self, peer: str) -> None:
        self.begun.append(peer)

    def done(self, handshake: Done) -> None:
        self.ends.append(handshake)

    def refused(self, refusal: Refused) -> None:
        self.ends.append(refusal)


def certificates(legacy: bool = True) -> Certificates:
    return Certificates.of(
        [
            CertificateSet((name,), profile_context([pair]), legacy_context([pair]) if legacy else None)
            for name, pair in PAIRS.items()
        ]
    )


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        stream.write(b"hello")
        stream.close()


@asynccontextmanager
async def listening(gate: Gate) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(
        Greeting, "127.0.0.1", 0, ssl=gate, ssl_handshake_timeout=5, ssl_shutdown_timeout=1
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def s_client(port: int, *arguments: str) -> str:
    """What ``openssl s_client`` says, both outputs."""
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(20):
        return (await process.communicate())[0].decode(errors="replace")


def on(loop: Callable[[], asyncio.AbstractEventLoop], work: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("option", "version"), [("-tls1", "1.0"), ("-tls1_1", "1.1"), ("-tls1_2", "1.2"), ("-tls1_3", "1.3")]
)
def test_each_version_on_both_sides_of_the_date(loop: Any, before: bool, option: str, version: str) -> None:
    seen = Seen()
    gate = Gate(POLICY, certificates(), seen, lambda: DAY - 1 if before else DAY)

    async def work() -> None:
        async with listening(gate) as port:
            said = await s_client(port, option, "-cipher", "ALL:@SECLEVEL=0")
        (end,) = seen.ends
        if before or version > "1.1":
            assert isinstance(end, Done)
            assert end.version is Version.of(version)
        else:
            assert isinstance(end, Refused)
            assert (end.reason, end.offered) == (Reason.VERSION, (Version.of(version),))
            assert "alert protocol version" in said

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_newer_clients_agree_on_the_same_with_and_without_legacy(loop: Any, option: str) -> None:
    async def agreed(legacy: bool) -> list[str]:
        gate = Gate(POLICY if legacy else Policy(), certificates(legacy), Seen(), lambda: DAY - 1)
        async with listening(gate) as port:
            said = await s_client(port, option, "-cipher", "ALL:@SECLEVEL=0")
        words = ("Peer signature type", "Peer signing digest", "Cipher is", "Server Temp Key")
        return [line for line in said.splitlines() if any(word in line for word in words)]

    async def work() -> None:
        with_legacy = await agreed(True)
        assert len(with_legacy) >= 4
        assert with_legacy == await agreed(False)

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
def test_plain_http_gets_an_answer_that_can_be_read_and_garbage_an_alert(loop: Any) -> None:
    seen = Seen()

    async def answer(port: int, data: bytes, size: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        async with asyncio.timeout(5):
            got = await reader.readexactly(size)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return got

    async def work() -> None:
        async with listening(Gate(POLICY, certificates(), seen)) as port:
            assert await answer(port, b"GET / HTTP/1.1\r\n\r\n", 12) == b"HTTP/1.1 400"
            assert await answer(port, b"\0\1\2\3", 7) == b"\x15\x03\x01\x00\x02\x02\x32"
        assert [each.reason for each in seen.ends if isinstance(each, Refused)] == [Reason.HTTP, Reason.GARBAGE]

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("asked", "shown"), [("A.example", "a.example"), ("x.b.example", "*.b.example"), ("other", "a.example")]
)
def test_the_certificate_is_chosen_by_name(loop: Any, asked: str, shown: str) -> None:
    async def work() -> None:
        async with listening(Gate(Policy(), certificates(False), Seen())) as port:
            assert f"CN = {shown}" in await s_client(port, "-servername", asked)

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
def test_the_owners_attempt_reaches_the_gate_from_its_task(loop: Any) -> None:
    seen = Seen()

    async def work() -> None:

        running = asyncio.get_running_loop()
        gate = Gate(Policy(), certificates(False), seen)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            client = asyncio.ensure_future(s_client(listener.getsockname()[1]))
            accepted, _ = await running.sock_accept(listener)
            attempt = Attempt("192.0.2.7")
            ATTEMPT.set(attempt)
            await running.connect_accepted_socket(Greeting, accepted, ssl=gate)
            await client
        assert attempt.ended
        assert seen.begun == ["192.0.2.7"]
        assert seen.ends[0].peer == "192.0.2.7"

    on(loop, work())
