"""The naive proxy on aiohttp (``bench/naive_aiohttp.py``), started as a program of its own."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from bench.cases import ADDRESSES, CORES, Case
from bench.gateways.gateway import Scene

PROGRAM = Path(__file__).parent.parent / "naive_aiohttp.py"


class NaiveAiohttp:
    """aiohttp's server and client on uvloop, in one process."""

    name = "aiohttp"
    leaves_out: tuple[str, ...] = ("ambiguous paths", ADDRESSES, CORES)

    def missing(self) -> str | None:
        """Nothing: aiohttp and uvloop are dependencies of Keystile."""
        return None

    def prepare(self, scene: Scene, directory: Path) -> None:
        """Keys and operations as one JSON file."""
        keys = {
            key.digest.hex(): {
                "account": key.account,
                "id": key.id,
                "scopes": key.scopes,
                "network": key.network,
            }
            for key in scene.keys.every()
        }
        calls = [[call.method, call.path, call.scopes] for call in scene.calls]
        (directory / "aiohttp.json").write_text(json.dumps({"keys": keys, "calls": calls}))

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """Its only way to be told anything: arguments."""
        backend = f"http://127.0.0.1:{scene.backend_port}"
        arguments = [str(port), backend, str(directory / "aiohttp.json"), str(case.cap), "log" if case.log else "quiet"]
        if case.tls:
            arguments.append(str(scene.certificate))
        return [sys.executable, str(PROGRAM), *arguments]

    def version(self) -> str:
        """aiohttp's release."""
        return f"aiohttp {version('aiohttp')}, server and client"
