"""``python -m bench``: choose cases and gateways, run the turns, print the table.

Law: arguments, set-up and take-down; how a turn is measured stands in ``run.py``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from bench import backend, table
from bench.api import read_calls, write_more
from bench.cases import CASES
from bench.gateways import GATEWAYS
from bench.gateways.gateway import Gateway, Scene
from bench.keyset import make_keys
from bench.load import CONNECTIONS, Load
from bench.processes import Running, free_port
from bench.run import Bench, Stage, Turn, stage_of
from keystile.wire.certificates import self_signed

ROOT = Path(__file__).parent.parent
PROGRAMS = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}  # what is run -> Debian's package


MOST_CORES = 4
"""Cores that two relays, the load and the backend need without sharing."""


def cores() -> list[int]:
    """Where this process may run."""
    return sorted(os.sched_getaffinity(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 0 when every turn was measured, 1 when one failed, 2 when something is not installed."""
    chosen = _parser().parse_args(arguments)
    chosen.spare = tuple(core for core in cores() if core not in (chosen.gateway_core, chosen.load_core))
    gateways, absent = _present(chosen.gateways)
    missing = [*_missing_programs(), *(absent if chosen.gateways else ())]
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 2
    if absent_cores := [name for name in chosen.cases if CASES[name].relays > 1 and len(cores()) < MOST_CORES]:
        absent.append(f"{', '.join(absent_cores)}: fewer than {MOST_CORES} cores")
        chosen.cases = [name for name in chosen.cases if name not in absent_cores]
    for said in absent:
        print(f"skipped: {said}", file=sys.stderr)
    if chosen.gateway_core == chosen.load_core:
        print("bench: one core for everything; latencies and rates will say little", file=sys.stderr)
    turns: list[Turn] = []
    code = 0
    with tempfile.TemporaryDirectory(prefix="keystile-bench-") as directory:
        try:
            _run(chosen, gateways, Path(directory), turns)
        except (RuntimeError, OSError, subprocess.SubprocessError) as fault:
            print(f"bench: {fault}", file=sys.stderr)
            code = 1
    if turns:
        _report(chosen, gateways, turns)
    return code


def _present(names: Sequence[str] | None) -> tuple[list[Gateway], list[str]]:
    """The gateways that can run, of those named or of all; and what has to be installed for the others."""
    wanted = [GATEWAYS[name] for name in names or GATEWAYS]
    said = {gateway.name: gateway.missing() for gateway in wanted}
    return [each for each in wanted if said[each.name] is None], [text for text in said.values() if text]


def _run(chosen: argparse.Namespace, gateways: Sequence[Gateway], directory: Path, turns: list[Turn]) -> None:
    os.sched_setaffinity(0, {chosen.load_core})
    directory.chmod(0o755)  # nginx's worker is another user
    port = free_port()
    cases = [CASES[name] for name in chosen.cases]
    stages = {
        (keys, routes): _stage(chosen, gateways, port, (keys, routes), directory)
        for keys, routes in dict.fromkeys(map(stage_of, cases))
    }
    command = backend.command(backend.write_configuration(directory, port))
    with Running(command, chosen.load_core, directory, "backend") as running:
        running.wait_for_answer(port)

        def keep(turn: Turn) -> None:
            _tell(turn)
            turns.append(turn)

        Bench(stages, running, chosen.seconds).rounds(chosen.rounds, cases, gateways, keep)


def _stage(
    chosen: argparse.Namespace, gateways: Sequence[Gateway], port: int, size: tuple[int, int], directory: Path
) -> Stage:
    """Keys and operations, and every gateway prepared for them, in a folder of their own."""
    keys, routes = make_keys(size[0] or chosen.keys), size[1]
    folder = directory / f"{size[0]}-{routes}"
    folder.mkdir(mode=0o755)
    certificate = folder / "bench.pem"
    certificate.write_bytes(b"".join(self_signed(["localhost", "127.0.0.1"], 5)))
    document = chosen.document
    if routes:
        document = folder / "document.yaml"
        write_more(chosen.document, document, routes)
    scene = Scene(document, read_calls(document), keys, port, chosen.gateway_core, certificate, chosen.spare)
    for gateway in gateways:
        gateway.prepare(scene, folder)
    return Stage(scene, Load(keys, folder, chosen.load_core), folder)


def _tell(turn: Turn) -> None:
    seconds = turn.load.seconds
    parts = [f"{name} {used / turn.load.requests * 1e6:.2f}" for name, used in turn.shares]
    print(
        f"round {turn.round}  {turn.case:10} {turn.gateway:9} {turn.per_request:7.2f} µs/request "
        f"{turn.rate:8,.0f}/s  core {turn.cpu.total / seconds:4.0%}  load {turn.load.cpu / seconds:4.0%}  "
        f"backend {turn.backend_cpu / seconds:4.0%}  others {turn.others / seconds:4.0%}"
        + (f"  ({', '.join(parts)})" if len(parts) > 1 else ""),
        flush=True,
    )


def _report(chosen: argparse.Namespace, gateways: Sequence[Gateway], turns: Sequence[Turn]) -> None:
    rows = table.rows(turns)
    versions = {gateway.name: gateway.version() for gateway in gateways}
    about: dict[str, object] = {
        "command": "python -m bench " + " ".join(sys.argv[1:]),
        "machine": _machine(),
        "gateways": versions,
        "left out": {gateway.name: gateway.leaves_out for gateway in gateways if gateway.leaves_out},
        "operations": len(read_calls(chosen.document)),
        "keys": chosen.keys,
        "connections": CONNECTIONS,
        "seconds": chosen.seconds,
    }
    file = chosen.results / f"{datetime.now():%Y-%m-%d-%H%M%S}.json"
    table.write_json(file, about, turns, rows)
    print(f"\n{datetime.now():%Y-%m-%d}, {about['machine']}; {', '.join(versions.values())}\n")
    print(table.markdown(rows))
    for gateway in gateways:
        if gateway.leaves_out:
            print(f"{versions[gateway.name]} leaves out: {', '.join(gateway.leaves_out)}.")
    noise = max(row.others for row in rows)
    if noise > 0.1:
        print(f"Not a quiet machine: others used up to {noise:.0%} of a core in a turn.")
    print(f"Every figure: {file}")


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="CPU per request, side by side.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load in each turn, in whole seconds")
    parser.add_argument("--cases", type=_names(CASES), default=["same", "varied", "log"], help=", ".join(CASES))
    parser.add_argument("--gateways", type=_names(GATEWAYS), default=None, help=", ".join(GATEWAYS))
    parser.add_argument("--keys", type=int, default=1000, help="how many keys the gateways hold")
    parser.add_argument("--gateway-core", type=int, default=cores()[-1])
    parser.add_argument("--load-core", type=int, default=cores()[0], help="for wrk, nginx and the bench itself")
    parser.add_argument("--document", type=Path, default=ROOT / "tests" / "data" / "elasticemail-openapi.yaml")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    return parser


def _names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    sys.exit(main())
