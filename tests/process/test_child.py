from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystile.limits.servers import ServerTable
from keystile.limits.slots import SlotTable
from keystile.process import channel, snapshot
from keystile.process.charge import REPLACED, Charge
from keystile.process.child import Child, StartFailed, how_it_ended
from keystile.process.memory import CounterPages
from keystile.wire.tls import openssl_conf
from tests.process.running import PROGRAM, ROOT
from tests.process.stand_in import settings_for


@pytest.fixture
def charge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Charge]:
    """Everything that the small management of the tests needs."""
    monkeypatch.setenv("PYTHONPATH", f"{PROGRAM}{os.pathsep}{ROOT}")
    slots, counters, ends = SlotTable.create(rows=64), CounterPages.create(1), channel.pair()
    servers = ServerTable.create(1)
    sealed = snapshot.seal(snapshot.take(1, settings_for(tmp_path)))
    fds = {"snapshot": sealed, "slots": slots.fd, "counters": counters.fd, "channel": ends[1].fileno()}
    fds["servers"] = servers.fd
    fds["openssl"] = snapshot.memory_file("openssl", openssl_conf().encode())
    more = {"listeners": (), "neighbours": (), "factory": "tests.process.stand_in"}
    yield Charge(os.getpid(), -1, place=1, **fds, **more)  # type: ignore[arg-type]
    os.close(fds["openssl"])
    slots.close()
    counters.close()
    servers.close()
    os.close(sealed)
    for end in ends:
        end.close()


async def test_a_child_says_that_it_is_ready_and_drains_when_told(charge: Charge) -> None:
    child = Child.spawn("management", "tests.process.stand_in", charge)
    await child.ready
    child.drain()
    assert await child.ended == 0
    child.drain()
    child.send_signal(signal.SIGTERM)  # nobody there: no error


async def test_a_child_that_cannot_begin_gives_its_reason(charge: Charge) -> None:
    broken = dataclasses.replace(charge, factory="no.such:thing")
    child = Child.spawn("relay", "keystile.process.relay", broken)
    with pytest.raises(StartFailed, match="No module named 'no'"):
        await child.ready
    assert await child.ended == 1


async def test_a_child_of_another_supervisor_does_not_begin(charge: Charge) -> None:
    child = Child.spawn("relay", "tests.process.stand_in", dataclasses.replace(charge, supervisor=1))
    with pytest.raises(StartFailed, match="ended with status 1"):
        await child.ready


async def test_a_killed_child_has_ended_by_that_signal(charge: Charge) -> None:
    child = Child.spawn("management", "tests.process.stand_in", charge)
    await child.ready
    child.send_signal(signal.SIGKILL)
    assert how_it_ended(await child.ended) == "was ended by SIGKILL"


async def test_a_second_sigterm_ends_a_child_that_is_draining(charge: Charge) -> None:
    child = Child.spawn("management", "tests.process.stand_in", charge)
    await child.ready
    child.send_signal(signal.SIGTERM)
    assert await child.ended == 0


async def test_a_child_that_runs_already_is_adopted_and_its_end_is_noticed(charge: Charge) -> None:
    child = Child.spawn("management", "tests.process.stand_in", charge)
    await child.ready
    loop = asyncio.get_running_loop()
    loop.remove_reader(child.line)
    loop.remove_reader(child._pidfd)
    adopted = Child.adopt("management", child.pid, os.dup(child.line), lambda *_: None, ready=True)
    assert adopted.ready.done()
    adopted.drain(REPLACED)
    assert await adopted.ended == 0
    child._wait()  # finds nobody, and is content
    os.close(child._pidfd)
    child._line.close()
