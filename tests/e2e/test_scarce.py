"""Descriptors and memory run out in a relay at work: it costs what came too many, and is over by itself.

Law: one gateway of one relay, whose limits are lowered while it runs (prlimit(2)) and lifted again.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from tests.e2e.api import answering
from tests.e2e.running import Gateway, serving, settings
from tests.process.running import is_alive, until
from tests.processor import cpu_of

MOST_CPU = 0.5
"""Seconds of CPU that a relay without a free descriptor may take in one second: it has nothing to do."""


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="ok")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with answering(_answer) as port:
        written = settings(port, [{"path": "/*", "public": True}], access_log="off")
        with serving(tmp_path_factory.mktemp("scarce"), written) as gateway:
            yield gateway


@contextmanager
def at_most(pid: int, what: int, most: int) -> Iterator[None]:
    """Have the process have no more than that of something."""
    before = resource.prlimit(pid, what, (most, resource.prlimit(pid, what)[1]))
    try:
        yield
    finally:
        if is_alive(pid):
            resource.prlimit(pid, what, before)


def test_without_a_free_descriptor_a_relay_neither_spins_nor_stays_so(gateway: Gateway) -> None:
    [relay] = gateway.pids("relay")
    open_ones = len(os.listdir(f"/proc/{relay}/fd"))
    with ExitStack() as clients, at_most(relay, resource.RLIMIT_NOFILE, open_ones + 12):
        for _ in range(40):
            clients.enter_context(socket.create_connection(("127.0.0.1", gateway.ports[0]), timeout=30))
        until(lambda: len(os.listdir(f"/proc/{relay}/fd")) >= open_ones + 10)
        before = cpu_of(relay)
        time.sleep(1)
        assert cpu_of(relay) - before < MOST_CPU
    until(lambda: gateway.call(path="/x") == (200, b"ok"), within=30)
    assert gateway.status()["slots_taken"] == 0
    assert gateway.pids("relay") == [relay]


def test_without_memory_a_relay_gives_up_requests_or_itself_and_no_slot(gateway: Gateway) -> None:
    [relay] = gateway.pids("relay")
    size = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{relay}/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    body = b"x" * 300_000
    begun = b"POST /x HTTP/1.1\r\nHost: api.example\r\nContent-Length: 400000\r\n\r\n" + body
    with ExitStack() as clients, at_most(relay, resource.RLIMIT_AS, size):
        for _ in range(20):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", gateway.ports[0]), timeout=30))
            client.setblocking(False)
            with suppress(OSError):  # cut already
                client.send(begun)
        time.sleep(0.5)
    until(lambda: gateway.status()["slots_taken"] == 0, within=30)
    until(lambda: _works(gateway), within=30)


def _works(gateway: Gateway) -> bool:
    try:
        return gateway.call("POST", "/x", body=b"x" * 100_000) == (200, b"ok")
    except OSError:  # the relay is just being replaced
        return False
