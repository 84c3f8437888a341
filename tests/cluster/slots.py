"""Slots over four hosts, measured: python -m tests.cluster.slots [traffic] [faults] [cost].

Law: it runs the programs, prints what it saw, and judges one thing: the API must never have had more in hand for an
address than the cap. On one machine all hosts share its processors, so times are those of a crowded machine.

    traffic   8 clients for each address at random over the hosts; then 40, twice the cap
    faults    with the rule refuse, under traffic of 40 clients: a host killed, one paused for 5 s, one cut off from the
              server (its connection's port is closed by a relay of bytes between), the server paused, and restarted
    cost      processor time of the relays per request, host beside valkey at the same time (``cost.py``)
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter

import uvloop

from tests.cluster.cost import measure_cost
from tests.cluster.four_hosts import Hosts, hosts
from tests.cluster.ground import Account, Api, Client, Gateway
from tests.relay.running import until

CAP = 20


def judge(what: str, account: Account) -> bool:
    highest = max((count for address, count in Api.highest.items() if address.startswith(b"10.")), default=0)
    verdict = "ok" if highest <= CAP else "MORE THAN THE CAP"
    print(f"{what}: {dict(account.ends)}; the API had {highest} in hand at most: {verdict}", flush=True)
    return highest <= CAP


async def measure_traffic() -> bool:
    well = True
    for workers in (1, 2):
        async with hosts("refuse", workers) as ground:
            for clients in (8, 40):
                before = await ground.sums("slots_asked_total", "slots_commands_total")
                async with ground.traffic(clients) as account:
                    await asyncio.sleep(8)
                after = await ground.sums("slots_asked_total", "slots_commands_total")
                requests = sum(account.ends.values())
                asked, commands = (new - old for new, old in zip(after, before, strict=True))
                well &= judge(f"{workers} relays a host, {clients} clients an address", account)
                print(f"  {asked / requests:.3f} round trips and {commands / requests:.3f} commands a request")
    return well


async def measure_faults() -> bool:
    well = True
    async with hosts("refuse") as ground:
        one, two, three, _ = ground.gateways

        async def during(what: str, begin: object, seconds: float, end: object) -> None:
            nonlocal well
            async with ground.traffic(40) as account:
                await asyncio.sleep(1)
                begin()  # type: ignore[operator]
                await asyncio.sleep(seconds)
                end()  # type: ignore[operator]
                await asyncio.sleep(4)
            well &= judge(what, account)
            print("   ", {host: dict(ends) for host, ends in sorted(account.by_host.items())})

        def kill() -> None:
            one.signal(signal.SIGKILL)
            one.process.wait()

        await during("a host killed, and started 3 s later", kill, 3, one.start)
        await during("a host paused for 5 s", lambda: two.signal(signal.SIGSTOP), 5, lambda: two.signal(signal.SIGCONT))
        pipe = ground.pipes[2]
        await during("a host cut off for 5 s", pipe.whole.clear, 5, pipe.whole.set)
        await during("the server paused for 3 s", ground.server.pause, 3, ground.server.go_on)
        await during("the server killed, back after 2 s with nothing", ground.server.stop, 2, ground.server.start)
        well &= await _given_back(ground, three)
    return well


async def _given_back(ground: Hosts, victim: Gateway) -> bool:
    """How long after a host's death its slots can be had elsewhere."""
    Api.highest.clear()
    account = Account()
    holding = [asyncio.create_task(Client("10.0.0.9", [victim], account, 30_000).run()) for _ in range(CAP)]
    await until(lambda: Api.in_hand[b"10.0.0.9"] == CAP)
    victim.signal(signal.SIGKILL)
    died, caller = time.monotonic(), Client("10.0.0.9", [ground.gateways[3]], account, 0)
    while await caller.call(0) != "200":
        pass  # a refusal that waited, or one on the spot
    print(f"the slots of a host that held all {CAP} and was killed: to be had after {time.monotonic() - died:.2f} s")
    for task in holding:
        task.cancel()
    victim.process.wait()
    return judge("  meanwhile", account)


PARTS = {"traffic": measure_traffic, "faults": measure_faults, "cost": measure_cost}


async def main() -> bool:
    """Every part that is named, or all."""
    results = Counter([await PARTS[name]() for name in sys.argv[1:] or PARTS])
    return not results[False]


if __name__ == "__main__":
    sys.exit(0 if uvloop.run(main()) else 1)
