"""``python -m tests.fuzz [--runs N] [--targets …]``: coverage-guided fuzzing of the wire, with atheris (libFuzzer).

Law: starts one process for each target, ``--at-once`` at a time, shows executions and findings, and keeps what was
found in ``--corpus``. Exit code 1 where anything was found: the input is written beside the corpus, and
``python -m tests.fuzz --replay FILE --targets NAME`` shows it again. Rules and judgement stand in ``targets.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

NAMES = ("request head", "chunks", "client", "answer", "paths", "proxy header", "caller", "relay", "sockets")
#: What each target's share of all executions is: cheap ones get many.
SHARES = dict.fromkeys(("request head", "chunks", "client", "answer"), 4)
SHARES |= {"paths": 2, "proxy header": 1, "caller": 1, "relay": 2, "sockets": 2}
_RUNS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_LAST = re.compile(r"^#(\d+)\s", re.MULTILINE)


@dataclass
class Outcome:
    """One target's run."""

    name: str
    runs: int
    seconds: float
    findings: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, or replay one input, or (in the child processes) be the fuzzer."""
    chosen = _parser().parse_args(arguments)
    if chosen.child:
        return _child(chosen.child, chosen.libfuzzer)
    if chosen.replay:
        from tests.fuzz.targets import TARGETS

        TARGETS[chosen.targets[0]](chosen.replay.read_bytes())
        print("nothing was found")
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris; Linux, Python 3.11 to 3.13)", file=sys.stderr)
        return 2
    outcomes = fuzz(chosen.targets, chosen.runs, chosen.seed, chosen.corpus, chosen.at_once)
    return show(outcomes)


def show(outcomes: Sequence[Outcome]) -> int:
    """A table; exit code 1 where anything was found."""
    print(f"{'target':14} {'executions':>12} {'seconds':>9} {'per second':>11}  findings")
    for one in outcomes:
        rate = one.runs / one.seconds if one.seconds else 0.0
        print(f"{one.name:14} {one.runs:12,} {one.seconds:9.0f} {rate:11,.0f}  {', '.join(one.findings) or '-'}")
    print(f"{'all':14} {sum(one.runs for one in outcomes):12,}", flush=True)
    return 1 if any(one.findings for one in outcomes) else 0


def fuzz(names: Sequence[str], runs: int, seed: int, corpus: Path, at_once: int) -> list[Outcome]:
    """Run every target in a process of its own; ``runs`` is what all do together."""
    waiting = [(name, runs * SHARES[name] // sum(SHARES[each] for each in names)) for name in names]
    running: list[tuple[str, float, subprocess.Popen[bytes], Path]] = []
    outcomes: list[Outcome] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(_start(*waiting.pop(0), seed, corpus))
        time.sleep(0.2)
        for one in [each for each in running if each[2].poll() is not None]:
            running.remove(one)
            outcomes.append(_outcome(*one))
    return sorted(outcomes, key=lambda outcome: NAMES.index(outcome.name))


def _start(name: str, runs: int, seed: int, corpus: Path) -> tuple[str, float, subprocess.Popen[bytes], Path]:
    from tests.fuzz.targets import seeds

    directory = corpus / name.replace(" ", "-")
    (directory / "inputs").mkdir(parents=True, exist_ok=True)
    for known in seeds(name):
        (directory / "inputs" / hashlib.sha1(known, usedforsecurity=False).hexdigest()).write_bytes(known)
    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        "-max_len=4096",
        "-timeout=20",
        "-print_final_stats=1",
        f"-artifact_prefix={directory}/",
        str(directory / "inputs"),
    ]
    log = directory / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.fuzz", "--child", name, "--", *options]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    return name, time.monotonic(), process, log


def _outcome(name: str, began: float, process: subprocess.Popen[bytes], log: Path) -> Outcome:
    text = log.read_text(errors="replace")
    counts = [int(each) for each in _RUNS.findall(text) or _LAST.findall(text)]
    found = sorted(str(each) for each in log.parent.glob("*-*") if each.is_file())
    if process.returncode and not found:
        found = [f"exit code {process.returncode}, see {log}"]
    return Outcome(name, max(counts, default=0), time.monotonic() - began, found)


def _child(name: str, options: list[str]) -> int:
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["keystile"]):
        targets = import_module("tests.fuzz.targets")
    atheris.Setup([sys.argv[0], *options], targets.TARGETS[name], enable_python_coverage=True)
    atheris.Fuzz()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the wire, guided by coverage.")
    parser.add_argument("--runs", type=int, default=10_000_000, help="executions of all targets together")
    parser.add_argument("--targets", nargs="+", default=list(NAMES), choices=NAMES, metavar="TARGET")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="kept from one run to the next")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--replay", type=Path, help="play one input again")
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("libfuzzer", nargs="*", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
