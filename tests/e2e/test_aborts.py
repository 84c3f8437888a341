"""A thousand clients that leave in the middle: no slot stays taken, and nothing is left running behind the gateway."""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import product
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import pytest

from tests.e2e.api import in_thread
from tests.e2e.running import Gateway, make_certificate, serving, settings, trusting
from tests.process.running import until

CLIENTS = 1000
PER_ADDRESS = 20
RELAYS = 2
PHASES = ("head", "waiting", "upload", "download")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
MUCH = 100_000_000
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Api:
    """An API that keeps every request waiting, reads, or answers without end, as its path says; and counts."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._serving: set[asyncio.Task[None]] = set()
        self._let_go = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def release(self) -> None:
        """Answer what is held."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._let_go.set)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0, backlog=CLIENTS)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await asyncio.sleep(0)  # for the sockets to be closed

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, OSError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            phase = str(re.findall(rb"^\S+ /(\w+)", head)[0], "ascii")
            self._count(self.begun, phase)
            if phase == "held":
                await self._let_go.wait()
                writer.write(HEAD % 2 + b"ok")
                continue
            if phase == "download":
                writer.write(HEAD % MUCH + b"x" * 100_000)
            try:
                while await reader.read(65536):
                    continue  # until the other side goes: for this request there is no other end
            finally:
                self._count(self.cut, phase)
            return

    def _count(self, counter: Counter[str], phase: str) -> None:
        with self._lock:
            counter[phase] += 1


@pytest.fixture(scope="module")
def api() -> Api:
    return Api()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def gateway(
    api: Api, certificates: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    certificate, key = map(str, certificates)
    with in_thread(api.served()) as port:
        written = settings(
            port,
            [{"path": "/*", "key_only": True}],
            workers=RELAYS,
            access_log="off",
            limits={"concurrent_requests_per_ip": PER_ADDRESS, "head_timeout": "60s"},
            listeners=[
                {"address": "127.0.0.1:0"},
                {"address": "127.0.0.1:0", "tls": {"certificate": certificate, "private_key": key}},
            ],
        )
        with serving(tmp_path_factory.mktemp("gateway"), written) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def secret(gateway: Gateway) -> str:
    return gateway.create_key("leaver")


def begun(phase: str, secret: str) -> bytes:
    """As much of a request as is sent before its client leaves."""
    method = "GET" if phase in ("waiting", "download") else "POST"
    head = f"{method} /{phase} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {secret}\r\n"
    match phase:
        case "head":
            return head.encode()
        case "upload":
            return f"{head}Content-Length: {MUCH}\r\n\r\n".encode() + b"x" * 50_000
    return f"{head}\r\n".encode()


async def connect(
    gateway: Gateway, address: str, context: ssl.SSLContext | None, data: bytes
) -> Client:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        gateway.ports[1 if context else 0],
        local_addr=(address, 0),
        ssl=context,
        server_hostname="localhost" if context else None,
    )
    writer.write(data)
    await writer.drain()
    return reader, writer


def leave(client: Client, *, reset: bool) -> None:
    """Go without a word: by a reset, or by closing."""
    writer = client[1]
    if reset:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
        writer.transport.abort()
    else:
        writer.close()


def addresses(first: int) -> Iterator[str]:
    """Client addresses, each so often as it may have requests in flight."""
    for number in range(first, 255):
        yield from [f"127.0.1.{number}"] * PER_ADDRESS


async def until_true(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition, 30)


async def test_a_thousand_clients_that_leave_take_no_slot_with_them(
    gateway: Gateway, api: Api, certificates: tuple[Path, Path], secret: str
) -> None:
    context = trusting(certificates[0])
    kinds = list(product(PHASES, (True, False), (None, context)))
    plan = list(zip(addresses(1), (kinds[n % len(kinds)] for n in range(CLIENTS)), strict=False))
    in_api = Counter(phase for _, (phase, _, _) in plan if phase != "head")
    in_flight = Counter(address for address, (phase, _, _) in plan if phase != "head")
    gate = asyncio.Semaphore(100)  # so many at a time connect and shake hands

    async def come(address: str, phase: str, tls: ssl.SSLContext | None) -> Client:
        async with gate:
            client = await connect(gateway, address, tls, begun(phase, secret))
            if phase == "download":
                assert (await client[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            return client

    coming = [(reset, come(address, phase, tls)) for address, (phase, reset, tls) in plan]
    clients = await asyncio.gather(*(client for _, client in coming))
    with closing(clients):
        assert len(clients) == CLIENTS
        await until_true(lambda: api.begun == in_api)
        status = await asyncio.to_thread(gateway.status)
        assert (status["slots_taken"], status["slots_highest"]) == (in_api.total(), max(in_flight.values()))
        assert not api.cut
        for (reset, _), client in zip(coming, clients, strict=True):
            leave(client, reset=reset)
        await until_true(lambda: api.cut == in_api)
        await until_true(lambda: gateway.metric("connections") == 0)
    status = await asyncio.to_thread(gateway.status)
    assert (status["slots_taken"], status["slots_highest"], status["restarts"]) == (0, 0, 0)
    assert await asyncio.to_thread(gateway.metric, "in_flight") == 0
    assert api.begun == in_api  # nothing was sent a second time


@contextmanager
def closing(clients: list[Client]) -> Iterator[None]:
    try:
        yield
    finally:
        for client in clients:
            client[1].transport.abort()


async def test_afterwards_each_address_has_all_its_slots_and_not_one_more(
    gateway: Gateway, api: Api, secret: str
) -> None:
    used = ["127.0.1.1", "127.0.1.25", "127.0.1.50"]
    request = begun("waiting", secret).replace(b"/waiting", b"/held")
    clients = [await connect(gateway, address, None, request) for address in used for _ in range(PER_ADDRESS)]
    with closing(clients):
        await until_true(lambda: api.begun["held"] == PER_ADDRESS * len(used))
        for address in used:
            reader, _ = one_more = await connect(gateway, address, None, request)
            clients.append(one_more)
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 429 ")
        api.release()
        for reader, _ in clients[: PER_ADDRESS * len(used)]:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
