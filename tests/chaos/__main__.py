"""``python -m tests.chaos``: traffic of all kinds while everything happens, and an account without a remainder.

Law: arguments and printing. Exit code 0 where nothing remains, else 1; the same seed makes the same schedule.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tests.chaos import account
from tests.chaos.account import Result
from tests.chaos.run import Plan, chaos
from tests.chaos.schedule import schedule
from tests.soak import table


def main(arguments: Sequence[str] | None = None) -> int:
    """One run."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    plan = Plan(chosen.seconds, chosen.seed, chosen.reloads, chosen.upgrades, chosen.only)
    with tempfile.TemporaryDirectory(prefix="keystile-chaos-") as made:
        directory = chosen.keep or Path(made)
        directory.mkdir(exist_ok=True)
        result = uvloop.run(chaos(plan, directory))
    show(result, plan)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(account.as_json(result), indent=1), encoding="utf-8")
    return result.code


def _end(*_: object) -> None:
    """As with Ctrl-C, all that was started is ended."""
    raise SystemExit(1)


def show(result: Result, plan: Plan) -> None:
    """All of it, for people."""
    print(f"\nSchedule of seed {plan.seed}\n")
    print("\n".join(map(str, schedule(plan.seed, plan.seconds, plan.only))))
    table.show("Events", account.events(result.story))
    table.show("Requests by kind", account.kinds(result.account))
    table.show("Requests by rule", account.rules(result.account))
    table.show_facts("Figures", result.facts)
    table.show_facts("The account", account.whole(result.account))
    print("\n" + ("\n".join(account.told(result)) or "no remainder"), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Everything happens, nothing is lost.")
    parser.add_argument("--seconds", type=float, default=120.0, help="of chaos; the phase without kills comes after")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reloads", type=int, default=100, help="in the phase without kills")
    parser.add_argument("--upgrades", type=int, default=20, help="the same")
    parser.add_argument("--only", default="", help="words, with commas: events whose name holds one of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the account goes as JSON, too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where all files are made and left, for a look")
    return parser


if __name__ == "__main__":
    sys.exit(main())
