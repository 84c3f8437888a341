"""What ``python -m bench`` is told.

Law: words to choices; starts nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.cases import CASES, SETS
from bench.gateways import GATEWAYS
from bench.load import RATE

ROOT = Path(__file__).parent.parent


def cores() -> list[int]:
    """Where this process may run."""
    return sorted(os.sched_getaffinity(0))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The choices; ends the program with 2 and a word for what is not one."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="CPU per request, side by side.")
    known = f"{', '.join(SETS)} (sets); {', '.join(CASES)}"
    parser.add_argument("--rounds", type=_at_least_one, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load in each turn, in whole seconds")
    parser.add_argument("--cases", type=names(CASES, SETS), default=list(SETS["base"]), help=known)
    parser.add_argument("--gateways", type=names(GATEWAYS), default=None, help=", ".join(GATEWAYS))
    parser.add_argument("--keys", type=int, default=1000, help="how many keys the gateways hold")
    parser.add_argument("--rate", type=_positive, default=RATE, help="requests a second, in the case latency")
    parser.add_argument("--gateway-core", type=int, default=cores()[-1])
    parser.add_argument("--load-core", type=int, default=cores()[0], help="for the load, nginx and the bench itself")
    parser.add_argument("--document", type=Path, default=ROOT / "tests" / "data" / "elasticemail-openapi.yaml")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    return parser.parse_args(arguments)


def names(known: Mapping[str, object], sets: Mapping[str, Sequence[str]] | None = None) -> Callable[[str], list[str]]:
    """A reader of names with commas between, each once; a name of ``sets`` stands for all that are in it."""

    def read(text: str) -> list[str]:
        found = [name for word in text.split(",") for name in (sets or {}).get(word, (word,))]
        if unknown := [name for name in found if name not in known]:
            every = ", ".join((*(sets or ()), *known))
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {every}")
        return list(dict.fromkeys(found))

    return read


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: not one at least")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: not above 0")
    return number
