"""The servers behind the gateway as processes: started, told to fail, killed, started again at the same place.

Law: life and orders; what a server does with an order stands in ``server.py``.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from bench.processes import free_port

NAMES = ("calm", "shaky1", "shaky2")
ROOT = Path(__file__).parent.parent.parent
ANSWERS_WITHIN = 20.0


class Servers:
    """All of them; ``ports`` and ``records`` by name. Use as an asynchronous context manager."""

    def __init__(self, directory: Path) -> None:
        self.ports = {name: free_port() for name in NAMES}
        self.records = {name: directory / f"{name}.seen" for name in NAMES}
        self._running: dict[str, Process] = {}
        self._turn = {name: asyncio.Lock() for name in NAMES}

    async def __aenter__(self) -> Servers:
        await asyncio.gather(*map(self.start, NAMES))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*map(self.kill, NAMES))

    async def start(self, name: str) -> None:
        """Start one, where none is; it listens afterwards."""
        command = (sys.executable, "-m", "tests.chaos.server", str(self.ports[name]), str(self.records[name]))
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT)
        self._running[name] = process
        await self._hear(process, b"ready\n")

    async def order(self, name: str, line: str) -> None:
        """Have it done, and wait until it is."""
        process = self._running[name]
        assert process.stdin is not None
        async with self._turn[name]:
            process.stdin.write(f"{line}\n".encode())
            await self._hear(process, b"done\n")

    async def kill(self, name: str) -> None:
        """kill -9."""
        process = self._running.pop(name, None)
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()
            assert process.stdin is not None
            process.stdin.close()

    async def _hear(self, process: Process, line: bytes) -> None:
        assert process.stdout is not None
        async with asyncio.timeout(ANSWERS_WITHIN):
            said = await process.stdout.readline()
        assert said == line, f"a server said {said!r}"
