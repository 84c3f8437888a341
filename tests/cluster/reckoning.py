"""What a hundred hosts would ask of the two servers that they share: python -m tests.cluster.reckoning.

Law: it measures what single things cost each server (its own processor time) with the program's own scripts and
classes, and multiplies. Its assumptions are printed with the result, and what gives out first is reckoned from both.
About a minute; it starts both servers itself.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from keystile.cluster.rounds import BEATS, ROUND_SECONDS
from keystile.management.hosts import EVERY
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.storage.doorbell import LOCK_TIMEOUT
from keystile.storage.postgresql.keeper import POLL
from tests.cluster.reckoning_hosts import CONNECTIONS
from tests.cluster.reckoning_store import FEW, MANY, StoreMeasured, measure_store
from tests.cluster.reckoning_sums import (
    ROUND_TRIP,
    TURN,
    Fleet,
    Limit,
    SlotCosts,
    StoreCosts,
    in_rhythm,
    limits,
    most_changes,
    written,
)
from tests.cluster.reckoning_valkey import measure_slots
from tests.cluster.server import PROGRAM
from tests.storage.postgres_server import BINARIES

FILES = 4096
CORES = (1, 4)
USUAL_CONNECTIONS = 100  # PostgreSQL's max_connections, unless somebody raises it


def tell_slots(fleet: Fleet, costs: SlotCosts) -> None:
    """What Valkey carries."""
    ask, give, beat = costs.ask, costs.give, costs.beat
    print("\nValkey")
    print(f"the server's time: ask {ask:.1f} µs, give {give:.1f} µs an address in batches, beat {beat:.1f} µs")
    print(f"memory of an address with units: {costs.size:.0f} bytes")
    beats = fleet.hosts * fleet.relays * BEATS
    print(f"heartbeats alone: {beats:,} a second, {100 * costs.cores(fleet, 0.0):.0f} % of one core")
    room = (1.0 - costs.cores(fleet, 0.0)) * 1e6 / (ask + give)
    print(f"a core gives {room:,.0f} new leases a second beside them")
    for gap in (1, 10, 100):
        rate = fleet.addresses / gap
        keeps = gap < ROUND_SECONDS
        held = fleet.addresses if keeps else rate * 1.5 * ROUND_SECONDS
        print(
            f"one request of each address in {gap} s: {rate:,.0f} requests and {beats + (0 if keeps else rate):,.0f} "
            f"commands a second, {costs.cores(fleet, rate):.1f} cores (there is one), "
            f"{held * costs.size / 1e6:,.0f} MB"
        )


def tell_store(fleet: Fleet, measured: StoreMeasured) -> None:
    """What PostgreSQL carries."""
    costs, (create, edit, delete) = measured.costs, measured.by_kind
    print("\nPostgreSQL")
    print(
        f"the server's time: a key created {create / 1e3:.1f} ms, edited {edit / 1e3:.1f} ms, deleted "
        f"{delete / 1e3:.1f} ms; one host told {costs.notice:.0f} µs, its fetch {costs.fetch:.0f} µs; a poll "
        f"{measured.poll:.0f} µs, a host's row and all rows read {measured.refresh:.0f} µs"
    )
    for name, line in (("last uses", costs.uses), ("usage sums", costs.usage)):
        few, many = (f"of {rows} keys {line.at(rows) / 1e3:.1f} ms" for rows in (FEW, MANY))
        print(f"a batch of {name} {few}, {many} ({line.each:.0f} µs a row)")
    turn, before = costs.change_turn.seconds(1, 0.0), costs.uses_turn.seconds(MANY, 0.0)
    print(
        f"WAL: {measured.wal_change:,.0f} bytes a change, {measured.wal_use:.0f} a row of last uses; a host that reads "
        f"all {fleet.keys:,} keys: {measured.whole:.2f} s; a change keeps its turn for {1e3 * turn:.1f} ms, "
        f"and waits for it while somebody notes, {1e3 * before:.0f} ms at most"
    )
    connections = fleet.hosts * CONNECTIONS
    print(
        f"connections: {connections}, each {measured.size / 1e6:.1f} MB of its own, "
        f"{connections * measured.size / 1e9:.1f} GB; the usual max_connections ({USUAL_CONNECTIONS}) is enough for "
        f"{USUAL_CONNECTIONS // CONNECTIONS} hosts"
    )
    reckoned = fleet.hosts * (measured.poll / POLL + measured.refresh / EVERY) / 1e6
    print(
        f"{fleet.hosts} hosts that do nothing: {100 * costs.idle:.0f} % of one core (measured; {100 * reckoned:.0f} % "
        "by the sum of single costs)"
    )
    change = costs.of_a_change(fleet)
    print(
        f"a change, until {fleet.hosts} hosts have it: {change / 1e3:.0f} ms of processor; "
        f"{1e6 / costs.notice if costs.notice else 0:,.0f} notices a second are a core's, if nobody fetches anything"
    )
    for cores in CORES:
        changes, by = most_changes(fleet, costs, 0.0, cores)
        print(
            f"{_cores(cores)}: {changes:.1f} changes and {changes * fleet.hosts:,.0f} notices a second beside idle "
            f"hosts ({by})"
        )
    for gap in (10, 100, 1000):
        _tell_noting(fleet, costs, fleet.addresses / gap, gap)


def _tell_noting(fleet: Fleet, costs: StoreCosts, requests: float, gap: int) -> None:
    every = costs.period(fleet, requests, 0.0)
    uses, usage = written(fleet, requests, UseWriter, every), written(fleet, requests, UsageWriter, every)
    taken = costs.turn(fleet, requests, 0.0, every)
    late = f"by each host every {every:.1f} s" if every else "as they come"
    print(
        f"one request of each address in {gap} s: {requests:,.0f} requests a second are {uses.rows_a_second:,.0f} rows "
        f"of last uses and {usage.rows_a_second:,.0f} of sums, "
        f"{f'written {late}' if taken < 1.01 else 'of which not all go in'}: {100 * taken:.0f} % of the turn, "
        f"{costs.cores(fleet, requests, 0.0):.2f} cores with idle hosts"
    )


def tell_what_gives_out(fleet: Fleet, slots: SlotCosts, store: StoreCosts) -> None:
    """The conclusion."""
    print("\nWhat gives out first")
    for changes in (0.1, 1.0, 10.0):
        for cores in CORES:
            first, *others = limits(fleet, slots, store, changes, cores)
            rest = "; then ".join(map(_limit, others))
            print(f"with {changes:g} changes a second, PostgreSQL on {_cores(cores)}: {_limit(first)}; then {rest}")
    print(f"last uses and sums are noted in their rhythm up to {in_rhythm(fleet, store):,.0f} requests a second")
    for requests in (1_000.0, 10_000.0):
        carried = [(cores, *most_changes(fleet, store, requests, cores)) for cores in CORES]
        said = ", ".join(f"{changes:.1f} with {_cores(cores)} ({by})" for cores, changes, by in carried)
        print(f"beside {requests:,.0f} requests a second, changes a second: {said}")


def _limit(limit: Limit) -> str:
    if limit.requests is None:
        return f"{limit.what} not by requests"
    if limit.requests < 1.0:
        return f"{limit.what} before any request"
    return f"{limit.what} at {limit.requests:,.0f} requests a second"


def _cores(cores: int) -> str:
    return "one core" if cores == 1 else f"{cores} cores"


async def main(fleet: Fleet) -> None:
    """Measure, then reckon."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        slots = await measure_slots(Path(folder), fleet)
        store = await measure_store(Path(folder), fleet)
    print(
        f"assumed: {fleet.hosts} hosts, {fleet.relays} relays each, {fleet.addresses:,} addresses that call from one "
        f"relay each and use {fleet.keys:,} keys, ten addresses a key; lease_time 1s, no shortage; units idle for "
        f"{ROUND_SECONDS:g} to {2 * ROUND_SECONDS:g} s go back; a host polls each {POLL:g} s, tells of itself each "
        f"{EVERY:g} s, notes last uses each {UseWriter.every:g} s and sums each {UsageWriter.every:g} s, at most "
        f"{UseWriter.most_at_once} keys in a transaction; the database {1e3 * ROUND_TRIP:g} ms away, its disk as here; "
        "load in time of this machine's processor; no two changes fetched together"
    )
    tell_slots(fleet, slots)
    tell_store(fleet, store)
    tell_what_gives_out(fleet, slots, store.costs)
    print(
        f"{TURN}: changes of keys and notes of last uses and sums, one at a time over all hosts; it has given out "
        f"where a note waits for {LOCK_TIMEOUT:g} s: last uses and sums are late, health is degraded, no request waits"
    )
    print(f"\nmeasured in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    if not ((BINARIES / "initdb").exists() and Path(PROGRAM).exists()):
        sys.exit(f"it needs PostgreSQL's programs ({BINARIES}) and Valkey or Redis ({PROGRAM})")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most == resource.RLIM_INFINITY else min(FILES, most), most))
    uvloop.run(main(Fleet()))
