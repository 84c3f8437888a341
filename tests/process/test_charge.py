from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from keystile.process import post
from keystile.process.charge import MOST_EARLY, Charge, Line

CHARGE = Charge(
    supervisor=1,
    line=3,
    snapshot=4,
    slots=5,
    counters=6,
    channel=7,
    listeners=(8, 9),
    neighbours=(10,),
    place=2,
    factory="math:sqrt",
    openssl=11,
    servers=12,
)


def test_a_charge_survives_the_command_line() -> None:
    assert Charge.from_json(CHARGE.to_json()) == CHARGE


def test_a_factory_is_an_attribute_of_a_module_or_the_module() -> None:
    assert CHARGE.made() is math.sqrt
    assert dataclasses.replace(CHARGE, factory="math").made() is math


DIES = """
import asyncio
from keystile.process.charge import run

async def stays():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

def breaks():
    raise KeyboardInterrupt  # as a MemoryError does that meets no memory: the one thing besides that ends uvloop's loop

async def work(charge, line):
    staying = asyncio.create_task(stays())
    asyncio.get_running_loop().call_soon(breaks)
    await line.stop.wait()

run(work, last_words=False)
"""


def test_a_process_whose_loop_has_ended_by_an_error_ends_at_once_and_takes_nothing_apart() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        charge = dataclasses.replace(CHARGE, supervisor=os.getpid(), line=theirs.fileno()).to_json()
        command = [sys.executable, "-c", DIES, charge]
        done = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert b"KeyboardInterrupt" in done.stderr


@pytest.fixture
async def line() -> AsyncIterator[tuple[socket.socket, Line]]:
    """The supervisor's end, and the line of a process that is being started."""
    ours, theirs = post.pair()
    line = Line(dataclasses.replace(CHARGE, line=theirs.detach()), last_words=True)
    yield ours, line
    loop = asyncio.get_running_loop()
    loop.remove_reader(line._end)
    loop.remove_signal_handler(signal.SIGTERM)
    line._end.close()
    ours.close()


async def test_what_is_said_before_a_process_is_ready_is_heard_then(line: tuple[socket.socket, Line]) -> None:
    """Found by chaos: a management that was being started was told of a configuration put back, and never knew."""
    supervisor, process = line
    heard: list[object] = []
    for content in ({"put_back": 7}, {"reload": 1}, {"unknown": 1}):
        post.send(supervisor, content)
    await asyncio.sleep(0.05)
    for order in ("reload", "put_back"):
        process.hear(order, lambda message: heard.append(message.content))
    assert heard == []
    process.ready()
    assert heard == [{"put_back": 7}, {"reload": 1}]
    post.send(supervisor, {"reload": 2})
    await asyncio.sleep(0.05)
    assert heard[2:] == [{"reload": 2}]


async def test_so_many_words_and_no_more_wait_for_a_process_to_be_ready(line: tuple[socket.socket, Line]) -> None:
    supervisor, process = line
    heard: list[object] = []
    for number in range(MOST_EARLY + 3):
        post.send(supervisor, {"reload": number})
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    process.hear("reload", lambda message: heard.append(message.content["reload"]))
    process.ready()
    assert heard == list(range(MOST_EARLY))
