"""What a hundred hosts would ask of one server: python -m tests.cluster.reckoning.

Law: it measures what each script costs the server (its own processor time, commands sent back to back) and how much
memory an address takes, and multiplies. Its assumptions are printed with the result.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import uvloop

from keystile.cluster import batches, scripts
from keystile.cluster.rounds import BEATS, ROUND_SECONDS
from keystile.cluster.scripts import EPOCH_KEY, Script, address_key, alive_key
from keystile.limits.lease import Lease
from tests.cluster.server import Server, running
from tests.cluster.test_scripts import connect, run

HOSTS, RELAYS, ADDRESSES, EACH = 100, 8, 1_000_000, 30_000
TOKEN, HOLDER = b"token", b"holder-0"


def spent(server: Server) -> float:
    """Seconds of processor time of the server."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    """Measure, then reckon."""
    with running(Path(tempfile.mkdtemp())) as server:
        made, _ = await connect(server)
        for at in range(HOSTS * RELAYS):
            opened = [b"run:1", TOKEN, b"%08d" % at, b"60000", b""]
            await run(made, scripts.OPEN, [EPOCH_KEY], opened)
        await run(made, scripts.OPEN, [EPOCH_KEY], [b"run:1", TOKEN, HOLDER, b"60000", b""])
        await made.ask(b"HSET", EPOCH_KEY, b"opened", b"1")

        async def cost(script: Script, commands: list[tuple[list[bytes], list[bytes]]]) -> float:
            """Microseconds of the server for one command."""
            before = spent(server)
            for first in range(0, len(commands), 500):
                some = commands[first : first + 500]
                await asyncio.gather(*(run(made, script, keys, args) for keys, args in some))
            return (spent(server) - before) / len(commands) * 1e6

        names = [b"%08d" % at for at in range(EACH)]
        top = [EPOCH_KEY, alive_key(TOKEN)]
        memory = int(str(await made.ask(b"INFO", b"memory")).partition("used_memory:")[2].partition("\\r")[0])
        asked = [TOKEN, HOLDER, b"20", b"1"]
        ask = await cost(scripts.ASK, [([*top, address_key(TOKEN, name)], asked) for name in names])
        after = int(str(await made.ask(b"INFO", b"memory")).partition("used_memory:")[2].partition("\\r")[0])
        leases = [Lease(name) for name in names]
        gives = batches.give_commands(TOKEN, HOLDER, [(lease, 5, b"") for lease in leases])
        give = await cost(scripts.GIVE, [([*top, *keys], args) for keys, args in gives]) / batches.MOST
        beat = await cost(scripts.BEAT, [(top, [TOKEN, HOLDER, b"60000"])] * 20_000)
        made.close()
    holders = HOSTS * RELAYS
    beats = holders * BEATS
    room = 1e6 - beats * beat
    print(f"the server's time: ask {ask:.1f} µs, give {give:.1f} µs an address in batches, beat {beat:.1f} µs")
    print(f"memory of an address with units: {(after - memory) / EACH:.0f} bytes")
    print(
        f"assumed: {HOSTS} hosts, {RELAYS} relays, lease_time 1s, {ADDRESSES:,} addresses, each seen at one relay at a "
        f"time, no shortage; units idle for {ROUND_SECONDS:g} to {2 * ROUND_SECONDS:g} s go back"
    )
    print(f"heartbeats alone: {beats:,} a second, {beats * beat / 1e4:.0f} % of one core")
    print(f"a core gives {room / (ask + give):,.0f} new leases a second beside them")
    for gap in (1, 10, 100):
        rate = ADDRESSES / gap
        leases_a_second = 0.0 if gap < ROUND_SECONDS else rate
        need = beats * beat / 1e6 + leases_a_second * (ask + give) / 1e6
        held = ADDRESSES if gap < ROUND_SECONDS else rate * 1.5 * ROUND_SECONDS
        print(
            f"one request of each in {gap} s: {rate:,.0f} requests and {beats + leases_a_second:,.0f} commands a "
            f"second, {need:.1f} cores (there is one), {held * (after - memory) / EACH / 1e6:,.0f} MB"
        )


if __name__ == "__main__":
    uvloop.run(main())
