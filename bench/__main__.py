"""``python -m bench``: choose cases and gateways, run the turns, print the tables, draw the picture.

Law: set-up and take-down; how a turn is measured stands in ``run.py``, how all of them go in ``rounds.py``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import backend, plan, report
from bench.api import read_calls
from bench.arguments import cores, parse
from bench.cases import CASES
from bench.gateways import GATEWAYS
from bench.gateways.gateway import Gateway
from bench.load import CONNECTIONS
from bench.processes import Running, free_port
from bench.record import Record
from bench.rounds import play
from bench.run import Bench
from bench.stages import make_stages

PROGRAMS = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}  # what is run -> Debian's package


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 0 when every turn was measured, 1 when one failed or the run was cut off, 2 when something is not
    installed."""
    chosen = parse(arguments)
    chosen.spare = tuple(core for core in cores() if core not in (chosen.gateway_core, chosen.load_core))
    gateways, absent = _present(chosen.gateways)
    missing = [*_missing_programs(), *(absent if chosen.gateways else ())]
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 2
    cases = [CASES[name] for name in chosen.cases]
    skipped = [*absent, *plan.too_wide(cases, len(cores()))]
    cases = [case for case in cases if case.relays == 1 or not plan.narrow(len(cores()))]
    skipped += plan.lacking(cases, gateways)
    for said in skipped:
        print(f"skipped: {said}", file=sys.stderr)
    if chosen.gateway_core == chosen.load_core:
        print("bench: one core for everything; latencies and rates will say little", file=sys.stderr)
    steps = plan.steps(chosen.rounds, cases, gateways)
    record = Record([_about(chosen, gateways, len(steps))], skipped=skipped)
    file = chosen.results / f"{datetime.now():%Y-%m-%d-%H%M%S}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    cut_off = _run(chosen, gateways, steps, record, file)
    if record.turns or record.failures:
        _report(record, file)
    return int(cut_off or bool(record.failures))


def _run(
    chosen: argparse.Namespace, gateways: Sequence[Gateway], steps: Sequence[plan.Step], record: Record, file: Path
) -> bool:
    """All turns into ``record`` and ``file``; True when they were not gone through to the end."""
    with tempfile.TemporaryDirectory(prefix="keystile-bench-") as directory:
        try:
            _turns(chosen, gateways, steps, record, file, Path(directory))
        except (RuntimeError, OSError, subprocess.SubprocessError) as fault:
            print(f"bench: {fault}", file=sys.stderr)
            return True
        except KeyboardInterrupt:
            print("bench: cut off", file=sys.stderr)
            return True
    return False


def _turns(
    chosen: argparse.Namespace,
    gateways: Sequence[Gateway],
    steps: Sequence[plan.Step],
    record: Record,
    file: Path,
    directory: Path,
) -> None:
    os.sched_setaffinity(0, {chosen.load_core})
    directory.chmod(0o755)  # nginx's worker is another user
    port = free_port()
    stages = make_stages(chosen, list(dict.fromkeys(step.case for step in steps)), gateways, port, directory)
    command = backend.command(backend.write_configuration(directory, port))
    with Running(command, chosen.load_core, directory, "backend") as running:
        running.wait_for_answer(port)
        play(Bench(stages, running, chosen.seconds), steps, record, chosen.seconds, lambda: record.write(file))


def _report(record: Record, file: Path) -> None:
    print("\n" + report.words(record))
    if record.turns:
        report.draw(record, file.with_suffix(".svg"))
        print(f"The picture: {file.with_suffix('.svg')}")
    print(f"Every figure: {file}")


def _present(names: Sequence[str] | None) -> tuple[list[Gateway], list[str]]:
    """The gateways that can run, of those named or of all; and what has to be installed for the others."""
    wanted = [GATEWAYS[name] for name in names or GATEWAYS]
    said = {gateway.name: gateway.missing() for gateway in wanted}
    return [each for each in wanted if said[each.name] is None], [text for text in said.values() if text]


def _about(chosen: argparse.Namespace, gateways: Sequence[Gateway], planned: int) -> dict[str, Any]:
    """What is to know about this run beside its figures."""
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "machine": _machine(),
        "gateways": {gateway.name: gateway.version() for gateway in gateways},
        "left out": {gateway.name: gateway.leaves_out for gateway in gateways if gateway.leaves_out},
        "operations": len(read_calls(chosen.document)),
        "keys": chosen.keys,
        "connections": CONNECTIONS,
        "seconds": chosen.seconds,
        "rate": chosen.rate,
        "planned": planned,
    }


def _machine() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _missing_programs() -> list[str]:
    return [
        f"{program} is not installed: apt-get install {package}"
        for program, package in PROGRAMS.items()
        if shutil.which(program) is None
    ]


if __name__ == "__main__":
    sys.exit(main())
