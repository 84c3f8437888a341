"""What the server that lends slots is measured at, for ``reckoning.py``.

Law: each script's cost in the server's own processor time, commands sent back to back; memory as the server says.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from keystile.cluster import batches, scripts
from keystile.cluster.connection import Connection
from keystile.cluster.scripts import EPOCH_KEY, Script, address_key, alive_key
from keystile.limits.lease import Lease
from tests.cluster.reckoning_sums import Fleet, SlotCosts
from tests.cluster.server import Server, running
from tests.cluster.test_scripts import connect, run
from tests.processor import cpu_of

EACH = 30_000
TOKEN, HOLDER = b"token", b"holder-0"


async def measure_slots(folder: Path, fleet: Fleet) -> SlotCosts:
    """Start a server in ``folder`` and measure it."""
    with running(folder) as server:
        made, _ = await connect(server)
        try:
            return await _Measuring(server, made).all(fleet)
        finally:
            made.close()


class _Measuring:
    def __init__(self, server: Server, made: Connection) -> None:
        self._server = server
        self._made = made

    async def all(self, fleet: Fleet) -> SlotCosts:
        for at in range(fleet.hosts * fleet.relays):
            await self._open(b"%08d" % at)
        await self._open(HOLDER)
        await self._made.ask(b"HSET", EPOCH_KEY, b"opened", b"1")
        names = [b"%08d" % at for at in range(EACH)]
        top = [EPOCH_KEY, alive_key(TOKEN)]
        before = await self._memory()
        asked = [TOKEN, HOLDER, b"20", b"1"]
        ask = await self._cost(scripts.ASK, [([*top, address_key(TOKEN, name)], asked) for name in names])
        size = (await self._memory() - before) / EACH
        leases = [Lease(name) for name in names]
        gives = batches.give_commands(TOKEN, HOLDER, [(lease, 5, b"") for lease in leases])
        give = await self._cost(scripts.GIVE, [([*top, *keys], args) for keys, args in gives]) / batches.MOST
        beat = await self._cost(scripts.BEAT, [(top, [TOKEN, HOLDER, b"60000"])] * 20_000)
        return SlotCosts(ask, give, beat, size)

    async def _open(self, holder: bytes) -> None:
        await run(self._made, scripts.OPEN, [EPOCH_KEY], [b"run:1", TOKEN, holder, b"60000", b""])

    async def _cost(self, script: Script, commands: list[tuple[list[bytes], list[bytes]]]) -> float:
        """Microseconds of the server for one command."""
        before = cpu_of(self._server.process.pid)
        for first in range(0, len(commands), 500):
            some = commands[first : first + 500]
            await asyncio.gather(*(run(self._made, script, keys, args) for keys, args in some))
        return (cpu_of(self._server.process.pid) - before) / len(commands) * 1e6

    async def _memory(self) -> int:
        said = str(await self._made.ask(b"INFO", b"memory"))
        return int(said.partition("used_memory:")[2].partition("\\r")[0])
