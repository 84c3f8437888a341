"""``python -m tests.soak WHAT``: measure real processes under load; ``--help`` says what there is.

Law: arguments and printing. Exit code 0, or 1 where a promise was broken; every fault is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import uvloop

from tests.soak import (
    bursts,
    certificates,
    cpu,
    deletes,
    drains,
    idle,
    idle_tls,
    kills,
    management,
    memory,
    overload,
    reloads,
    slow,
    stopped,
    table,
    upgrades,
    upstreams,
)

Found = tuple[list[dict[str, object]], list[str]]
#: Whose rows are shown as a table; others have one, shown as a list of facts.
TABLES = frozenset({"bursts", "cpu", "deletes", "idle", "idle-tls", "slow"})
TITLES = {
    "bursts": "Bursts of 25 at once from one address",
    "kills": "kill -9 of relays under load",
    "management": "kill -9 of management under load",
    "deletes": "Changes of keys under load",
    "cpu": "CPU per request",
    "slow": "Slow and greedy clients (slowhttptest), and what others notice beside an undisturbed control",
    "idle": "Idle connections",
    "idle-tls": "Idle TLS connections",
    "certificates": "Certificates that change under load",
    "memory": "A relay without memory",
    "reloads": "Configurations that change under load",
    "overload": "Overload: several times what it carries, from rude callers",
    "drains": "Drains under traffic, while another gateway takes it",
    "upgrades": "Upgrades under traffic",
    "upstreams": "Three servers that stop, die, get slow and answer with errors under load",
    "stopped": "One relay stopped (SIGSTOP)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one measurement."""
    chosen = _parser().parse_args(arguments)
    rows, faults = uvloop.run(_work(chosen))
    if chosen.what not in TABLES:
        for row in rows:
            table.show_facts(TITLES[chosen.what], row)
    elif rows:
        table.show(TITLES[chosen.what], rows)
    print("\n" + ("\n".join(f"FAULT: {fault}" for fault in faults) or "no faults"), flush=True)
    return 1 if faults else 0


def _work(chosen: argparse.Namespace) -> Coroutine[Any, Any, Found]:
    match chosen.what:
        case "bursts":
            return bursts.main(chosen.rounds, chosen.relays, chosen.seed)
        case "kills":
            return kills.main(chosen.kills, chosen.relays, chosen.seed, chosen.minutes, chosen.pause)
        case "management":
            return management.main(chosen.seconds, chosen.relays)
        case "deletes":
            return deletes.main(chosen.deletes, chosen.others, chosen.by_command, chosen.relays, chosen.seed)
        case "cpu":
            return cpu.main(chosen.rounds, chosen.seconds, chosen.relays)
        case "slow":
            return slow.main(chosen.modes.split(","), chosen.attackers, chosen.seconds)
        case "idle":
            return idle.main(chosen.connections)
        case "idle-tls":
            return idle_tls.main(chosen.connections)
        case "certificates":
            return certificates.main(chosen.changes, chosen.relays)
        case "memory":
            return memory.main(chosen.seconds)
        case "reloads":
            return reloads.main(chosen.changes, chosen.relays)
        case "overload":
            limits = tuple(chosen.limits.split(",")) if chosen.limits else ()
            kinds = (chosen.connections, chosen.new, limits)
            return overload.main(chosen.share, chosen.times, chosen.seconds, *kinds, chosen.seed, chosen.turns)
        case "drains":
            return drains.main(chosen.drains)
        case "upgrades":
            return upgrades.main(chosen.upgrades, chosen.relays)
        case "upstreams":
            return upstreams.main(chosen.seconds, chosen.relays, chosen.seed, chosen.balance)
        case _:
            return stopped.main(chosen.seconds, chosen.times, chosen.relays, chosen.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Real processes under load.")
    what = parser.add_subparsers(dest="what", required=True)
    one = what.add_parser("bursts")
    one.add_argument("--rounds", type=int, default=10_000, help="in all")
    one.add_argument("--relays", type=_numbers, default=[1, 2, 4])
    one = what.add_parser("kills")
    one.add_argument("--kills", type=int, default=1000)
    one.add_argument("--relays", type=int, default=4)
    one.add_argument("--minutes", type=float, default=15.0, help="after which no relay is killed any more")
    one.add_argument("--pause", type=float, default=0.5, help="seconds from one kill to the next, at least")
    one = what.add_parser("management")
    one.add_argument("--seconds", type=float, default=10.0)
    one.add_argument("--relays", type=int, default=2)
    one = what.add_parser("deletes")
    one.add_argument("--deletes", type=int, default=10_000)
    one.add_argument("--others", type=int, default=500, help="edits, changes, expiries, imports, creates: each")
    one.add_argument("--by-command", type=int, default=20, help="further deletes by keystile keys delete")
    one.add_argument("--relays", type=int, default=4)
    one = what.add_parser("cpu")
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--seconds", type=float, default=3.0)
    one.add_argument("--relays", type=_numbers, default=[1, 2])
    one = what.add_parser("stopped")
    one.add_argument("--seconds", type=float, default=3.0)
    one.add_argument("--times", type=int, default=3)
    one.add_argument("--relays", type=int, default=2)
    one = what.add_parser("slow")
    one.add_argument("--modes", default=",".join(slow.MODES), help="names, with commas")
    one.add_argument("--attackers", type=int, default=2000, help="connections of one address")
    one.add_argument("--seconds", type=float, default=20.0, help="of each mode")
    one = what.add_parser("idle")
    one.add_argument("--connections", type=int, default=10_000)
    one = what.add_parser("idle-tls")
    one.add_argument("--connections", type=int, default=2_000)
    one = what.add_parser("certificates")
    one.add_argument("--changes", type=int, default=1000)
    one.add_argument("--relays", type=int, default=2)
    one = what.add_parser("reloads")
    one.add_argument("--changes", type=int, default=100)
    one.add_argument("--relays", type=int, default=2)
    one = what.add_parser("overload")
    one.add_argument("--share", type=float, default=0.2, help="of one core, for the gateway; at least 0.1")
    one.add_argument("--times", type=float, default=4.0, help="how many times its best is offered")
    one.add_argument("--seconds", type=float, default=9.0, help="of overload, in each turn")
    one.add_argument("--turns", type=int, default=5, help="of usual load, best, overload and usual load")
    one.add_argument("--connections", type=int, default=1000, help="kept ones")
    one.add_argument("--new", type=float, default=0.02, help="part of the requests that come on new connections")
    one.add_argument("--limits", default="", help="further limits for gateway.yaml, with commas: max_lag: none")
    one = what.add_parser("memory")
    one.add_argument("--seconds", type=float, default=10.0)
    one = what.add_parser("drains")
    one.add_argument("--drains", type=int, default=20)
    one = what.add_parser("upgrades")
    one.add_argument("--upgrades", type=int, default=20)
    one.add_argument("--relays", type=int, default=2)
    one = what.add_parser("upstreams")
    one.add_argument("--seconds", type=float, default=60.0, help="of disturbances")
    one.add_argument("--relays", type=int, default=2)
    # By a hash, two callers' addresses would have two servers at most.
    one.add_argument("--balance", default="round_robin", choices=["round_robin", "least_in_flight"])
    for each in what.choices.values():
        each.add_argument("--seed", type=int, default=20)
    return parser


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
