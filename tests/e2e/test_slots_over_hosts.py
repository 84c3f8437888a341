"""Two gateways as two hosts, one server that counts: one is killed, the other stopped, and the API sees no 21st."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.cluster.ground import Account, Api, Client, Gateway, api
from tests.cluster.server import needs_server, running
from tests.relay.running import until

ADDRESS = "10.0.0.9"
CAP = 20
FOREVER = 60_000


def hold(gateway: Gateway, account: Account) -> list[asyncio.Task[None]]:
    """As many long requests as one address may have in flight."""
    return [asyncio.create_task(Client(ADDRESS, [gateway], account, FOREVER).run()) for _ in range(CAP)]


async def end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@needs_server
async def test_a_killed_host_gives_back_and_a_stopped_one_cuts_what_it_cannot_answer_for(tmp_path: Path) -> None:
    listening, upstream = await api()
    in_hand = Api.in_hand
    (tmp_path / "server").mkdir()
    with running(tmp_path / "server") as server:
        slots = f"{{url: 'valkey://127.0.0.1:{server.port}', when_unreachable: refuse}}"
        one, other = (Gateway(tmp_path / name, slots, upstream) for name in ("one", "other"))
        try:
            await one.ready()
            await other.ready()
            first, second = Account(), Account()
            holding = hold(one, first)
            await until(lambda: in_hand[ADDRESS.encode()] == CAP)
            caller = Client(ADDRESS, [other], second, 0)
            assert await caller.call(0) == "429"
            one.signal(signal.SIGKILL)
            while await caller.call(0) != "200":
                pass  # a refusal that waited, or one on the spot
            caller.close()
            await end(holding)
            assert first.ends["cut"] >= CAP, "each of its requests has ended"

            holding = hold(other, second)
            await until(lambda: in_hand[ADDRESS.encode()] == CAP)
            other.signal(signal.SIGSTOP)
            await asyncio.sleep(1.5)
            assert second.ends["503"] == 0
            other.signal(signal.SIGCONT)
            await until(lambda: second.ends["503"] >= CAP)
            await end(holding)
            assert Api.highest[ADDRESS.encode()] == CAP
        finally:
            one.stop()
            other.stop()
    listening.close()
