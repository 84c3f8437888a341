"""Hosts that are not all the same, under traffic: two programs, an upgrade of all, two configurations, come and gone.

Law: what is done, for ``account.py``, which judges and prints. The older program comes from this repository's history;
where there is none, that part is left out, and said so. All hosts begin with it, as a fleet does: the first that is
upgraded brings the database's schema up, and the others go on.
"""

from __future__ import annotations

import asyncio
import io
import random
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keystile.config.database import MIRROR
from keystile.process.control import ask_to_reload
from tests.cluster.crowd import Caller, api, traffic
from tests.cluster.diary import Diary, Spell, What
from tests.cluster.fleet import OTHER, OURS, SCOPE, Fleet, Host, fleet
from tests.cluster.key_changes import KeyChanges

if TYPE_CHECKING:
    from tests.cluster.account import Report

OLDER = "83c8b83"
"""The first program that counted over hosts and had a store that they share."""
LOWER = 10
TRUST = 4.0
HELD = "10.0.5.1"
"""The address of which a host that is removed holds all units."""


def older_program(folder: Path) -> Path | None:
    """The older program's source, unpacked; None where there is no history."""
    root = Path(__file__).parents[2]
    done = subprocess.run(["git", "-C", str(root), "archive", OLDER, "src"], capture_output=True, check=False)
    if done.returncode:
        return None
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return folder / "src"


def lay(link: Path, source: Path) -> Path:
    """Have ``link`` be the program at ``source``: what an installation on disk does."""
    beside = link.with_name(f"{link.name}.new")
    beside.symlink_to(source)
    beside.replace(link)
    return link


async def upgrade(hosts: list[Host]) -> None:
    """One after the other: the present program is laid where the older one was, and ``keystile upgrade``."""
    for host in hosts:
        lay(host.source, OURS)
        await host.run("upgrade")
        await asyncio.sleep(0.5)


async def lower_some(fleet: Fleet, diary: Diary, seconds: float = 5.0) -> None:
    """Half of the hosts get a lower limit, and then their own back."""
    some = fleet.hosts[len(fleet.hosts) // 2 :]
    diary.lower = {host.at: LOWER for host in some}
    spells = []
    for host in some:
        spells.append(Spell(What.LIMITED, host.at, time.monotonic()))
        diary.spells.append(spells[-1])
        await reload(fleet, host, concurrent_requests_per_ip=LOWER)
    for spell in spells:
        spell.settled = time.monotonic()
    await asyncio.sleep(seconds)
    for spell in spells:
        spell.lifted = time.monotonic()
    for host, spell in zip(some, spells, strict=True):
        await reload(fleet, host)
        spell.ended = time.monotonic()


async def reload(fleet: Fleet, host: Host, **more: Any) -> None:
    """Another gateway.yaml for one host, in force."""
    host.write(fleet.settings(host, **more))
    answer = await asyncio.to_thread(ask_to_reload, host.folder / MIRROR)
    assert answer["fault"] is None, answer


async def another_route(fleet: Fleet) -> list[str]:
    """One host has a row of its own: each answers by its own rows. What is wrong."""
    one, other = fleet.hosts[:2]
    rows = [{"path": "/more/*", "scope": OTHER, "upstream": "api"}, {"path": "/*", "scope": SCOPE, "upstream": "api"}]
    await reload(fleet, one, routes=rows)
    statuses = [await host.status(fleet.secret, "/more/0") for host in (one, other)]
    await reload(fleet, one)
    return [] if statuses == [403, 200] else [f"a row of one host: {statuses} instead of 403 there and 200 elsewhere"]


async def another_trust(fleet: Fleet, diary: Diary) -> None:
    """The database is away for longer than one host goes on without it."""
    from tests.cluster.account import kill_store

    await reload(fleet, fleet.one(3), trust_without_store=f"{TRUST:g}s")
    await kill_store(fleet, diary, TRUST + 3)
    await asyncio.sleep(2)
    await reload(fleet, fleet.one(3))


@asynccontextmanager
async def balanced(fleet: Fleet) -> AsyncIterator[None]:
    """Ask every host for its health ten times a second, as balancers do; who is not ready gets no new requests."""

    async def look() -> None:
        while True:
            for host in fleet.hosts:
                host.is_offered = await host.is_ready()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(look())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def come_and_go(fleet: Fleet, diary: Diary, caller: Caller, calm: float = 2.0) -> tuple[float, list[str]]:
    """A host is added, another one that holds all units of an address is removed.

    Seconds from its end until all of these could be had elsewhere; what is wrong.
    """
    removed = fleet.hosts[0]
    added = await fleet.add()
    async with balanced(fleet):
        added.start()
        await added.ready()
        await asyncio.sleep(calm)
        holding = [asyncio.create_task(caller.beside(removed.at, 400)) for _ in range(diary.cap)]
        await asyncio.sleep(0.2)
        diary.spells.append(Spell(What.DRAINED, removed.at, time.monotonic()))
        code = await removed.drain()
        ended = time.monotonic()
        held = [await each for each in holding]
        took = await all_units(caller, added, diary.cap, ended)
        await asyncio.sleep(calm)
    wrong = [] if code == 0 else [f"the removed host ended with {code}"]
    wrong += [] if set(held) == {"200"} else [f"what the removed host had in flight: {held}"]
    return took, wrong + ([] if took < 1.0 else [f"its units were back after {took:.2f} s"])


async def all_units(caller: Caller, host: Host, units: int, since: float) -> float:
    """Seconds from ``since`` until all units of an address could be had on one host."""
    while True:
        began = time.monotonic()
        if set(await asyncio.gather(*(caller.beside(host.at, 100) for _ in range(units)))) == {"200"}:
            return began - since


async def measure(report: Report, folder: Path, dice: random.Random) -> None:
    """All of it, on one fleet."""
    older = await asyncio.to_thread(older_program, folder / "older")
    if older is None:
        print(f"two programs side by side: left out, this is no checkout with the commit {OLDER}")
    (folder / "programs").mkdir(parents=True)
    programs = tuple(lay(folder / "programs" / str(at), older or OURS) for at in range(4))
    diary, left = Diary(phase="the older program" if older else "one program"), []
    async with api(diary) as port, fleet(folder / "hosts", port, "refuse", programs) as hosts:
        caller = Caller(hosts, diary, HELD, diary.cap, dice)
        async with traffic(hosts, diary, dice), KeyChanges(hosts, diary, dice).going_on():
            await asyncio.sleep(2)
            diary.begin_phase("two hosts are upgraded")
            await upgrade(hosts.hosts[:2])
            diary.begin_phase("two programs side by side" if older else "all the same")
            await asyncio.sleep(8)
            diary.begin_phase("the others are upgraded")
            await upgrade(hosts.hosts[2:])
            await asyncio.sleep(2)
            diary.begin_phase(f"a limit of {LOWER} on two hosts")
            await lower_some(hosts, diary)
            left += await another_route(hosts)
            diary.begin_phase(f"trust_without_store {TRUST:g} s on host 3, no database")
            await another_trust(hosts, diary)
            diary.begin_phase("a host added, one removed")
            took, wrong = await come_and_go(hosts, diary, caller)
        left += [*wrong, *await hosts.at_rest()]
    print(f"units of a removed host, all in use when it was told to stop: had elsewhere {took:.2f} s after its end\n")
    report.take("rolling", diary, left, {3: TRUST})
