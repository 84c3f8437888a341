from __future__ import annotations

import dataclasses
import math
import os
import socket
import subprocess
import sys

from keystile.process.charge import Charge

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
