"""How long a deleted key lives on another host: ``python -m tests.cluster.revocation [--deletes 200]``.

Two gateways over one PostgreSQL (durable: fsync on, on this machine's disk). A key is deleted as the first host's
commands and management do it; four connections call the second host without a pause, and the time is told from the
moment at which the delete was answered until the last of them is refused. Beside it: what the second host's own metric
says, whether 15 keys stay exact under parallel creates on both hosts, and what a database that is killed costs callers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keystile.keys.service import KeyService
from keystile.storage.postgresql.store import PostgresStore
from tests.cluster.two_hosts import Caller, Hosts, two_hosts, until
from tests.e2e.running import OWNER

BY: dict[str, Any] = {"actor": "operator (command line)", "origin": "console"}
CALLERS = 4
SILENT = """CREATE OR REPLACE FUNCTION keystile.note_change(id text, what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1263752268, 1);
    INSERT INTO keystile.changes (seq, key_id, kind) SELECT max(seq) + 1, id, what FROM keystile.changes;
END $$"""
"""The log without its notification, as behind a pooler that loses them."""


class Refused:
    """Callers that call until they are refused; ``ends``: when each was (monotonic)."""

    def __init__(self, callers: list[Caller]) -> None:
        self.ends: list[float] = []
        self._threads = [threading.Thread(target=self._call, args=(caller,)) for caller in callers]
        self._ready = threading.Barrier(len(callers) + 1)
        for thread in self._threads:
            thread.start()
        self._ready.wait(30)

    def _call(self, caller: Caller) -> None:
        assert caller.call() == 200
        self._ready.wait(30)
        while caller.call() == 200:
            continue
        self.ends.append(time.monotonic())
        caller.close()

    def wait(self) -> float:
        """When the last one was."""
        for thread in self._threads:
            thread.join(60)
        return max(self.ends)


async def measure_deletes(hosts: Hosts, count: int, *, pause: float = 0.0) -> list[float]:
    """Seconds from each delete's answer until the other host refused everywhere; below zero: before it was answered."""
    found = []
    mirror = hosts.gateways[0].directory / "keystile-mirror.db"
    async with await PostgresStore.open(hosts.database.named(hosts.name), mirror) as store:
        service = KeyService(store)
        for number in range(count):
            secret = (await service.create(OWNER, f"k{number}", ["View"], **BY)).secret
            until(lambda secret=secret: hosts.status(1, secret) == 200)
            refused = await asyncio.to_thread(Refused, [hosts.caller(1, secret) for _ in range(CALLERS)])
            await service.delete(OWNER, f"k{number}", **BY)
            answered = time.monotonic()
            found.append(await asyncio.to_thread(refused.wait) - answered)
            await asyncio.sleep(pause)
    return found


def parallel_creates(hosts: Hosts, each: int) -> int:
    """How many of twice so many creates, at once on both hosts, have made a key."""
    email = "many@example.com"
    hosts.gateways[0].create_account(email)

    def create(number: int) -> bool:
        host = hosts.gateways[number % 2]
        return host.run("keys", "create", "--account", email, "--name", f"k{number}").code == 0

    with ThreadPoolExecutor(8) as pool:
        made = sum(pool.map(create, range(2 * each)))
    kept = len(hosts.gateways[1].ask("keys", "list", "--account", email))
    assert kept == made, (kept, made)
    return made


class Traffic:
    """Callers of both hosts that never stop; ``statuses`` counts what they were answered, by host."""

    def __init__(self, hosts: Hosts, secret: str) -> None:
        self.statuses: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(at, hosts.caller(at, secret))) for at in (0, 1) for _ in range(2)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, at: int, caller: Caller) -> None:
        while not self._ended.is_set():
            status = caller.call()
            self.statuses[at][status] = self.statuses[at].get(status, 0) + 1
            time.sleep(0.002)
        caller.close()

    def end(self) -> None:
        """Stop calling."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30)


def lose_the_database(hosts: Hosts, away: float) -> dict[str, Any]:
    """Kill it under traffic, have it back after ``away`` seconds, and delete a key then."""
    secret = hosts.gateways[0].create_key("lasting", "View")
    until(lambda: hosts.status(1, secret) == 200)
    traffic = Traffic(hosts, secret)
    try:
        time.sleep(1)
        hosts.database.stop(signal.SIGQUIT)
        noticed = [until(lambda at=at: hosts.health(at)["status"] != "ok") for at in (0, 1)]
        time.sleep(away)
        health = hosts.health(1)
        hosts.database.start()
        back = max(until(lambda at=at: hosts.metric(at, "store_connected") == 1) for at in (0, 1))
        before = [dict(statuses) for statuses in traffic.statuses]
        hosts.gateways[0].keys("delete", "lasting")
        refused = until(lambda: all(hosts.status(at, secret) == 401 for at in (0, 1)))
    finally:
        traffic.end()
    return {"noticed": noticed, "health": health, "back": back, "answers": before, "refused": refused}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deletes", type=int, default=200)
    parser.add_argument("--by-polling", type=int, default=20, help="deletes of which no notification tells")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, two_hosts(Path(folder), durable=True) as hosts:
        times = sorted(asyncio.run(measure_deletes(hosts, arguments.deletes)))
        ms = [each * 1000 for each in times]
        print(f"deletes: {len(ms)}; from the answer until the other host refuses on all of {CALLERS} connections")
        late = ms[int(len(ms) * 0.99) - 1]
        print(f"  median {statistics.median(ms):.1f} ms, 99 % {late:.1f} ms, worst {ms[-1]:.1f} ms")
        said = {name: hosts.metric(1, f"store_change_delay_seconds_{name}") for name in ("sum", "count")}
        print(f"  the other host's own metric: mean {1000 * said['sum'] / said['count']:.1f} ms of {said['count']:.0f}")
        print(f"  found by polling alone: {hosts.metric(1, 'store_changes_by_polling_total'):.0f}")
        hosts.database.run(SILENT, hosts.name)
        polled = sorted(1000 * each for each in asyncio.run(measure_deletes(hosts, arguments.by_polling)))
        said_of = f"median {statistics.median(polled):.0f} ms, worst {polled[-1]:.0f} ms"
        print(f"deletes without any notification: {len(polled)}; {said_of}")
        print(f"parallel creates: {parallel_creates(hosts, 20)} of 40 made a key, on two hosts at once")
        print("database killed under traffic, back after 10 s:")
        print(json.dumps(lose_the_database(hosts, 10.0), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
