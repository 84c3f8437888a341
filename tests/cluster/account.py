"""The account of several hosts under faults: ``python -m tests.cluster.account [--seed 1] [--only PART]``.

Four hosts over one PostgreSQL and one Valkey or Redis, all on this machine: 8 clients of each of three addresses and 40
of another at random over the hosts, keys that change on one host and are used on all. One fault after the other; then
hosts of several configurations and of several programs side by side, hosts that come and go, and an upgrade of all of
them. Ends with 1 where a request is left that no rule explains, or the API had a 21st of an address in hand.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from tests.cluster import lateness
from tests.cluster.crowd import api, traffic
from tests.cluster.diary import Diary, Spell, What
from tests.cluster.fleet import Fleet, fleet
from tests.cluster.judging import Account, judge
from tests.cluster.key_changes import KeyChanges
from tests.cluster.tables import table, tell
from tests.storage.postgres_server import needs_postgresql

CALM = 2.0
"""Seconds of traffic after each fault."""
Fault = Callable[[Fleet, Diary], Awaitable[None]]


@asynccontextmanager
async def spell(diary: Diary, what: What, host: int | None, *, alone: bool = False) -> AsyncIterator[Spell]:
    """Something that lasts as long as the block."""
    made = Spell(what, host, time.monotonic(), alone=alone)
    diary.spells.append(made)
    yield made
    made.ended = time.monotonic()


async def kill_a_host(fleet: Fleet, diary: Diary, seconds: float = 3.0) -> None:
    """kill -9 of all its processes at once; callers go on trying it; it is started again later."""
    host = fleet.one(0)
    async with spell(diary, What.KILLED, host.at):
        host.kill()
        await asyncio.sleep(seconds)
        host.start()
        await host.ready()


async def pause_a_host(fleet: Fleet, diary: Diary, seconds: float = 5.0) -> None:
    """SIGSTOP to all its processes: it is not gone, and says nothing."""
    host = fleet.one(1)
    async with spell(diary, What.PAUSED, host.at):
        host.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        host.signal(signal.SIGCONT)


async def cut_from_slots(fleet: Fleet, diary: Diary, seconds: float = 5.0) -> None:
    """Nothing comes through between one host and Valkey, and nothing is closed."""
    host = fleet.one(2)
    async with spell(diary, What.NO_SLOTS, host.at, alone=fleet.rule == "per_host"):
        host.slots.whole.clear()
        await asyncio.sleep(seconds)
        host.slots.whole.set()


async def cut_from_store(fleet: Fleet, diary: Diary, seconds: float = 6.0) -> None:
    """The same between one host and PostgreSQL."""
    host = fleet.one(3)
    async with spell(diary, What.NO_STORE, host.at):
        host.store.whole.clear()
        await asyncio.sleep(seconds)
        host.store.whole.set()


async def kill_slots(fleet: Fleet, diary: Diary, seconds: float = 3.0) -> None:
    """Valkey is killed, and comes back with nothing; for one lease time of it nothing is lent."""
    async with spell(diary, What.NO_SLOTS, None, alone=fleet.rule == "per_host"):
        fleet.slots.stop()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(fleet.slots.start)
        await asyncio.sleep(diary.lease)


async def kill_store(fleet: Fleet, diary: Diary, seconds: float = 4.0) -> None:
    """PostgreSQL is killed, and comes back by its log."""
    async with spell(diary, What.NO_STORE, None):
        await asyncio.to_thread(fleet.store.stop, signal.SIGQUIT)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(fleet.store.start)


FAULTS: dict[str, Fault] = {
    "a host killed": kill_a_host,
    "a host paused": pause_a_host,
    "a host cut off from Valkey": cut_from_slots,
    "a host cut off from PostgreSQL": cut_from_store,
    "Valkey killed": kill_slots,
    "PostgreSQL killed": kill_store,
}


async def under_traffic(
    fleet: Fleet,
    diary: Diary,
    dice: random.Random,
    faults: Mapping[str, Fault],
) -> list[str]:
    """Traffic, and one fault after the other; what is not at rest at the end."""
    changes = KeyChanges(fleet, diary, dice)
    async with traffic(fleet, diary, dice), changes.going_on():
        await asyncio.sleep(CALM)
        for name, fault in faults.items():
            diary.begin_phase(name)
            await fault(fleet, diary)
            await asyncio.sleep(CALM)
    return await fleet.at_rest()


class Report:
    """What has been found so far."""

    def __init__(self) -> None:
        self.well = True

    def take(self, title: str, diary: Diary, left: list[str], trust: dict[int, float] | None = None) -> Account:
        """Judge and print one part."""
        account = judge(diary, trust)
        late = lateness.deleted(diary)
        faults = [*account.remainder, *lateness.changes_not_made(diary), *left]
        tell(title, account, diary, late)
        for fault in faults[:40]:
            print(f"REMAINDER: {fault}")
        print(f"remainder: {len(faults)}; slots and units at the end: {', '.join(left) or '0'}\n", flush=True)
        self.well &= account.is_whole and not faults
        return account


async def faults_under_refuse(report: Report, folder: Path, dice: random.Random) -> None:
    """All faults, with the rule refuse."""
    diary = Diary()
    async with api(diary) as port, fleet(folder, port, "refuse") as hosts:
        left = await under_traffic(hosts, diary, dice, FAULTS)
    report.take("when_unreachable: refuse", diary, left)


async def faults_under_per_host(report: Report, folder: Path, dice: random.Random) -> None:
    """Those that have to do with Valkey, with the rule per_host: 20 on each host that counts alone."""
    diary, names = Diary(), ("a host cut off from Valkey", "Valkey killed")
    async with api(diary) as port, fleet(folder, port, "per_host") as hosts:
        left = await under_traffic(hosts, diary, dice, {name: FAULTS[name] for name in names})
    report.take("when_unreachable: per_host", diary, left)


async def all_of_it(seed: int, only: str) -> bool:
    """Every part, or one."""
    from tests.cluster import rolling

    parts = {
        "faults": faults_under_refuse,
        "per_host": faults_under_per_host,
        "rolling": rolling.measure,
    }
    report, began, took = Report(), time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="keystile-fleet-") as folder:
        for name, part in parts.items():
            if only in ("", name):
                since = time.monotonic()
                await part(report, Path(folder) / name, random.Random(f"{seed} {name}"))
                took[name] = round(time.monotonic() - since)
    print(table(["part", "seconds"], [[name, str(seconds)] for name, seconds in took.items()]))
    print(f"{'nothing remains' if report.well else 'SOMETHING REMAINS'}; {time.monotonic() - began:.0f} s, seed {seed}")
    return report.well


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["faults", "per_host", "rolling"], default="")
    arguments = parser.parse_args()
    needs_postgresql()
    return 0 if uvloop.run(all_of_it(arguments.seed, arguments.only)) else 1


if __name__ == "__main__":
    sys.exit(main())
