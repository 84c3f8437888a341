"""The link: who is counted by and who is not, passwords, and coming back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keystile.cluster.greeting import Unusable
from keystile.cluster.holder import Holder
from keystile.cluster.link import Link, _incarnation
from keystile.cluster.scripts import EPOCH_KEY
from keystile.cluster.sender import Terms
from keystile.config.model import SharedSlots
from keystile.limits.lease import LeasedSlots
from tests.cluster.server import needs_server, running
from tests.cluster.test_scripts import connect
from tests.relay.running import until


class Nobody:
    """A watcher without requests."""

    def lapsed(self) -> None: ...

    def changed(self, name: bytes | None) -> None: ...

    def none_free(self, name: bytes) -> None: ...

    def need(self, name: bytes) -> int:
        return 0


@asynccontextmanager
async def linked(port: int, **more: Any) -> AsyncIterator[tuple[Link, Holder]]:
    slots = LeasedSlots.create(rows=64, columns=4)
    assert isinstance(slots, LeasedSlots)
    slots.claim_column()
    settings = SharedSlots("127.0.0.1", port, lease_time=0.5, **more)
    holder = Holder(Terms(slots, Nobody(), lambda: 20, 0.5, settings.min_replicas))
    link = Link(settings, holder)
    task = asyncio.ensure_future(link.run())
    yield link, holder
    link.close()
    await task
    slots.close()


@needs_server
async def test_it_holds_and_comes_back_after_the_server_was_away(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with linked(server.port) as (link, holder):
            await until(lambda: holder.name)
            first = holder.name
            server.stop()
            await until(lambda: link.trouble and holder.slots.unreachable)
            server.start()
            await until(lambda: link.connections > 1 and link.trouble is None and len(holder.name) > 0)
            assert holder.name != first
            assert link.connections >= 2


@needs_server
@pytest.mark.parametrize("right", [True, False])
async def test_a_password_is_said_and_never_told(tmp_path: Path, right: bool) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n" if right else "wrong-secret\n")
    with running(tmp_path, "--requirepass", "hunter2") as server:
        async with linked(server.port, password_file=file) as (link, holder):
            if right:
                await until(lambda: holder.name)
            else:
                await until(lambda: "WRONGPASS" in (link.trouble or ""))
                assert "wrong-secret" not in str(link.trouble)


@needs_server
async def test_a_server_that_would_forget_what_it_lent_is_not_counted_by(tmp_path: Path) -> None:
    with running(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        async with linked(server.port) as (link, holder):
            await until(lambda: "noeviction" in (link.trouble or ""))
            await until(lambda: holder.slots.unreachable)
            assert not holder.name


@needs_server
async def test_hosts_of_another_protocol_are_told_of_and_waited_for(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with linked(server.port) as (_, first):
            await until(lambda: first.name)
            made, _ = await connect(server)
            await made.ask(b"HSET", EPOCH_KEY, b"protocol", b"7")
            async with linked(server.port) as (link, holder):
                await until(lambda: "PROTOCOL 7" in (link.trouble or "") and holder.slots.unreachable)
                first.leave()
                await until(lambda: holder.name)
            made.close()


FACTS = {"redis_version": "7.0.15", "role": "master", "run_id": "r", "master_replid": "p", "maxmemory": "0"}


def test_a_server_is_named_by_its_run_and_its_data() -> None:
    assert _incarnation(FACTS) == b"r:p"


@pytest.mark.parametrize(
    ("facts", "said"),
    [({"redis_version": "6.2.1"}, "too old"), ({"role": "slave"}, "replica"), ({"maxmemory": "5"}, "noeviction")],
)
def test_what_cannot_lend_is_told(facts: dict[str, str], said: str) -> None:
    with pytest.raises(Unusable, match=said):
        _incarnation({**FACTS, **facts})
