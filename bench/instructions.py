"""``python -m bench.instructions``: instructions that the relay executes for one request, counted by valgrind.

Law: counts; no clock. Where a machine's speed changes from one second to the next, CPU time cannot show a few per
cent, and a count can: it is the same to about 2 % each time, less the more requests (``--rounds``), since what is done
once a second falls on few of them under valgrind. It sees neither the kernel's part nor what caches and
branches cost, so it compares Keystile with another version of itself (``--sources``), not with other gateways.

Source: valgrind's manual, chapters 6.3 (callgrind_control) and 6.5 (``Ir``).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from bench import backend
from bench.api import read_calls, write_more
from bench.arguments import ROOT
from bench.cases import CASES, Case
from bench.gateways.gateway import Scene
from bench.gateways.keystile import Keystile
from bench.keyset import make_keys
from bench.load import CONNECTIONS, FIELDS, SAME_TARGET, rendered, secrets_of, varied_requests
from bench.processes import Running, free_port
from bench.run import all_taken

from keystile.wire.certificates import self_signed

READY_WITHIN = 300.0
"""Seconds: under valgrind everything takes about fifty times as long."""
#: Stands for Python where the supervisor starts its children: relays run under valgrind, others as they are.
WRAPPER = """\
#!/bin/sh
case "$*" in
*keystile.process.relay*) exec {valgrind} {python} "$@" ;;
*) exec {python} "$@" ;;
esac
"""
#: Children have a minute to get ready, or less in older versions; a relay under valgrind takes longer.
SUPERVISOR = """\
import sys
from keystile.process import child, supervisor
for module in (child, supervisor):
    for name in ("READY_WITHIN", "SILENT_AT_MOST"):
        if hasattr(module, name):
            setattr(module, name, 600.0)
sys.executable = {wrapper!r}
from keystile.cli.main import main
sys.exit(main(["serve", "-c", sys.argv[1]]))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Count for every case and every source tree; 2 where valgrind is not installed."""
    chosen = _parser().parse_args(arguments)
    if shutil.which("callgrind_control") is None:
        print("valgrind is not installed: apt-get install valgrind", file=sys.stderr)
        return 2
    print(f"| case | {' | '.join(str(each) for each in chosen.sources)} |")
    print(f"| --- |{' --- |' * len(chosen.sources)}", flush=True)
    for name in chosen.cases.split(","):
        counts = [instructions(CASES[name], each, chosen.rounds) for each in chosen.sources]
        shown = " | ".join(f"{each:,.0f} ({each / counts[0]:.3f})" for each in counts)
        print(f"| {CASES[name].title} | {shown} |", flush=True)
    return 0


def instructions(case: Case, sources: Path, rounds: int) -> float:
    """Instructions for one request of ``case``, by the code in ``sources``; RuntimeError where it does not run."""
    with tempfile.TemporaryDirectory(prefix="keystile-bench-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        scene = _scene(case, directory)
        command = backend.command(backend.write_configuration(directory, scene.backend_port))
        with Running(command, 0, directory, "backend") as behind:
            behind.wait_for_answer(scene.backend_port)
            return _count(case, sources, scene, directory, rounds)


def _scene(case: Case, directory: Path) -> Scene:
    document = ROOT / "tests" / "data" / "elasticemail-openapi.yaml"
    if case.routes:
        small, document = document, directory / "document.yaml"
        write_more(small, document, case.routes)
    certificate = directory / "bench.pem"
    certificate.write_bytes(b"".join(self_signed(["localhost", "127.0.0.1"], 5)))
    return Scene(document, read_calls(document), make_keys(case.keys or 1000), free_port(), 0, certificate)


def _count(case: Case, sources: Path, scene: Scene, directory: Path, rounds: int) -> float:
    gateway, port = Keystile(), free_port()
    gateway.prepare(scene, directory)
    file = gateway.command(scene, case, port, directory)[-1]
    _allow_lag(Path(file), sources)
    wrapper, out = directory / "python", directory / "callgrind.out"
    valgrind = f"valgrind -q --tool=callgrind --instr-atstart=no --callgrind-out-file={out}"
    wrapper.write_text(WRAPPER.format(valgrind=valgrind, python=sys.executable))
    wrapper.chmod(0o755)
    os.environ |= {"PYTHONPATH": str(sources.resolve()), "PYTHONUTF8": "1"}  # the gateway starts elsewhere
    start = [sys.executable, "-c", SUPERVISOR.format(wrapper=str(wrapper)), file]
    with Running(start, 1, directory, "keystile") as running:
        running.wait_for_answer(port, READY_WITHIN, tls=case.tls)
        [relay] = [pid for pid in running.tree() if b"callgrind" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        secrets = secrets_of(scene.keys)
        with all_taken(case, port, secrets["any"], READY_WITHIN):
            fields = {**FIELDS, "X-Api-Key": secrets[case.secret], **({"Connection": "close"} if case.anew else {})}
            requests = varied_requests(scene.keys) if case.load == "varied" else [rendered(SAME_TARGET, fields)]
            if case.addresses:
                callers = [{"X-Forwarded-For": f"127.1.{number // 256}.{number % 256}"} for number in range(1000)]
                requests = [rendered(SAME_TARGET, {**fields, **caller}) for caller in callers]
            load = Turns(port, requests, case)
            load.run(20)  # until everything that is kept is kept
            _control("--instr=on", relay)
            load.run(rounds)
            _control("--dump", relay)
        return _total(out) / (rounds * CONNECTIONS)


def _allow_lag(file: Path, sources: Path) -> None:
    """Slow as it is under valgrind, it would shed. Older versions do not know how."""
    if "max_lag" in (sources / "keystile" / "config" / "model.py").read_text(encoding="utf-8"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("limits: {", "limits: {max_lag: 10s, "), encoding="utf-8")


class Turns:
    """Connections that all ask, are all answered, and ask again: one of ``requests`` after the other.

    Where the case wants it, every request on a new connection.
    """

    def __init__(self, port: int, requests: Sequence[bytes], case: Case) -> None:
        self._requests = cycle(requests)
        self._expected = b"HTTP/1.1 %d " % (case.refused or 200)
        self._port, self._case = port, case
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._sockets = self._connected()

    def run(self, rounds: int) -> None:
        """So many requests on every connection; RuntimeError where one is not answered as it is to be."""
        for _ in range(rounds):
            if self._case.anew:
                for each in self._sockets:
                    each.close()
                self._sockets = self._connected()
            for each in self._sockets:
                each.sendall(next(self._requests))
            for each in self._sockets:
                _read(each, self._expected)

    def _connected(self) -> list[socket.socket]:
        return [self._connect() for _ in range(CONNECTIONS)]

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=READY_WITHIN)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._tls.wrap_socket(plain) if self._case.tls else plain


def _read(sock: socket.socket, expected: bytes) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if not head.startswith(expected) or length is None:
        raise RuntimeError(head.decode(errors="replace"))
    while len(body) < int(length[1]):
        body += sock.recv(65536)


def _control(order: str, pid: int) -> None:
    subprocess.run(["callgrind_control", order, str(pid)], check=True, capture_output=True, timeout=READY_WITHIN)


def _total(out: Path) -> int:
    """Of the first dump: the last one is written at the end, and is another file."""
    dump = out.with_name(f"{out.name}.1")
    give_up = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up:
        if dump.exists() and (found := re.search(r"(?m)^(?:totals|summary): (\d+)", dump.read_text())):
            return int(found[1])
        time.sleep(0.2)
    raise RuntimeError(f"{dump} was not written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description="Instructions per request.")
    parser.add_argument("--cases", default="same,log,tls", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=100, help=f"requests on each of {CONNECTIONS} connections")
    parser.add_argument(
        "--sources", type=Path, nargs="+", default=[ROOT / "src"], help="src directories of versions to compare"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
