"""The scripts on a real server, beside the model: the same commands, the same answers."""

from __future__ import annotations

import asyncio
import random
import secrets
from pathlib import Path

import pytest

from keystile.cluster import scripts
from keystile.cluster.connection import Connection
from keystile.cluster.scripts import CHANNEL, EPOCH_KEY, Script, ServerError, address_key, alive_key
from tests.cluster.model import ModelServer
from tests.cluster.server import Server, needs_server, running


async def connect(server: Server) -> tuple[Connection, list[bytes]]:
    heard: list[bytes] = []
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(lambda: Connection(heard.append, lambda: None), "127.0.0.1", server.port)
    await made.ask(b"HELLO", b"3")
    for script in scripts.ALL:
        await made.ask(b"SCRIPT", b"LOAD", script.text)
    return made, heard


async def run(made: Connection, script: Script, keys: list[bytes], args: list[bytes]) -> object:
    future = asyncio.get_running_loop().create_future()
    made.call(script, keys, args, future.set_result)
    return await asyncio.wait_for(future, 5)


def plain(reply: object) -> object:
    """An answer without what depends on the clock."""
    return [*reply[:1], 0, *reply[2:]] if isinstance(reply, list) else reply


NAMES = [b"\0\0\0\1\x0a\0\0%c" % at for at in (1, 2, 13, 10)]


@needs_server
@pytest.mark.parametrize("seed", range(4))
async def test_the_model_says_what_the_server_says(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    told: list[tuple[bytes, bytes]] = []
    # Far from any moment at which somebody dies: only the order of commands counts.
    model = ModelServer(lambda: 1_000_000, lambda channel, said: told.append((channel, said)))
    with running(tmp_path) as server:
        made, heard = await connect(server)
        holders = [b"holder-%d" % at for at in range(3)]
        for holder in holders:
            made.tell(b"SUBSCRIBE", CHANNEL + holder)
        lease, token = b"600000", b"token"
        ours = [b"run:1", token, holders[0], lease, b""]
        assert plain(await run(made, scripts.OPEN, [EPOCH_KEY], ours)) == plain(model.run(scripts.OPEN, [], ours))
        asked = [token, holders[0], b"5", b"1"]
        early = await run(made, scripts.ASK, [EPOCH_KEY, alive_key(token), address_key(token, NAMES[0])], asked)
        assert isinstance(early, list)
        assert early[0] == -2
        await made.ask(b"HSET", EPOCH_KEY, b"opened", b"1")  # the first moments are over
        model.data.epoch["opened"] = -10_000_000
        for _ in range(400):
            name, holder = dice.choice(NAMES), dice.choice(holders)
            keys = [EPOCH_KEY, alive_key(token), address_key(token, name)]
            script, args = dice.choice(
                [
                    (scripts.OPEN, [b"run:1", b"other", holder, lease, dice.choice(holders)]),
                    (scripts.BEAT, [token, holder, lease]),
                    (scripts.LEAVE, [token, holder]),
                    *[(scripts.ASK, [token, holder, b"5", b"%d" % dice.randint(1, 3)])] * 5,
                    *[(scripts.GIVE, [token, holder, b"1", b"".join(dice.sample(holders, dice.randint(0, 2)))])] * 3,
                    (scripts.GIVE, [token, holder, b"0", b"".join(dice.sample(holders, dice.randint(0, 2)))]),
                    (scripts.MOVE, [token, holder, dice.choice(holders), b"2"]),
                    (scripts.KEEP, [token, holder, b"%d" % dice.randint(0, 2)]),
                    (scripts.KEEP, [b"elsewhere", holder, b"1"]),
                ]
            )
            try:
                expected = model.run(script, keys, args)
            except ServerError as error:
                expected = str(error)
            found = await run(made, script, keys, args)
            assert plain(str(found) if isinstance(found, ServerError) else found) == plain(expected), script.name
        for name in NAMES:
            units = await made.ask(b"HGETALL", address_key(token, name))
            its = model.data.units.get(address_key(token, name), {})
            assert {holder: int(count) for holder, count in units.items() if len(holder) == 8} == its
        assert sorted(heard) == sorted(said for _, said in told)
        made.close()


@needs_server
async def test_who_does_not_beat_is_dead_and_its_units_are_lent_to_others(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        made, _ = await connect(server)
        for holder in (b"holder-1", b"holder-2"):
            await run(made, scripts.OPEN, [EPOCH_KEY], [b"run:1", b"token", holder, b"250", b""])
        await made.ask(b"HSET", EPOCH_KEY, b"opened", b"1")
        keys = [EPOCH_KEY, alive_key(b"token"), address_key(b"token", NAMES[0])]
        first = await run(made, scripts.ASK, keys, [b"token", b"holder-1", b"2", b"2"])
        assert first == [2, 0, 0, b""]
        for _ in range(12):
            await asyncio.sleep(0.025)
            assert await run(made, scripts.BEAT, keys[:2], [b"token", b"holder-2", b"250"]) == 1
        second = await run(made, scripts.ASK, keys, [b"token", b"holder-2", b"2", b"2"])
        assert second == [2, 0, 0, b""]
        assert await run(made, scripts.BEAT, keys[:2], [b"token", b"holder-1", b"250"]) == 0
        assert await run(made, scripts.ASK, keys, [b"token", b"holder-1", b"2", b"1"]) == [-1, 0, 0, b""]
        made.close()


@needs_server
async def test_where_memory_is_full_nothing_is_lent_and_all_else_goes_on(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        made, _ = await connect(server)
        opened = [b"run:1", b"token", b"holder-1", b"60000", b""]
        await run(made, scripts.OPEN, [EPOCH_KEY], opened)
        await made.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
        keys = [EPOCH_KEY, alive_key(b"token"), address_key(b"token", NAMES[0])]
        refused = await run(made, scripts.ASK, keys, [b"token", b"holder-1", b"2", b"1"])
        assert isinstance(refused, ServerError)
        assert str(refused).startswith("OOM")
        assert await run(made, scripts.BEAT, keys[:2], [b"token", b"holder-1", b"60000"]) == 1
        assert await run(made, scripts.GIVE, keys, [b"token", b"holder-1", b"1", b""]) == b""
        opened[2] = secrets.token_bytes(8)
        assert isinstance(await run(made, scripts.OPEN, [EPOCH_KEY], opened), list)
        made.close()


@needs_server
async def test_two_protocols_never_count_side_by_side(tmp_path: Path) -> None:
    """While hosts of another one live this program is refused; then an epoch begins in which they are not heard."""
    with running(tmp_path) as server:
        made, _ = await connect(server)
        opened = [b"run:1", b"token", b"holder-1", b"60000", b""]
        await run(made, scripts.OPEN, [EPOCH_KEY], opened)
        assert await made.ask(b"HGET", EPOCH_KEY, b"protocol") == b"%d" % scripts.PROTOCOL
        await made.ask(b"HSET", EPOCH_KEY, b"protocol", b"2")
        for script, args in ((scripts.FIT, []), (scripts.OPEN, [b"run:1", b"another", b"holder-2", b"60000", b""])):
            refused = await run(made, script, [EPOCH_KEY], args)
            assert isinstance(refused, ServerError)
            assert str(refused).startswith("PROTOCOL 2 is that of hosts which count here; ours is 1")
        assert await made.ask(b"HGET", EPOCH_KEY, b"token") == b"token"
        await run(made, scripts.LEAVE, [EPOCH_KEY, alive_key(b"token")], [b"token", b"holder-1"])
        assert await run(made, scripts.FIT, [EPOCH_KEY], []) == 1
        found = await run(made, scripts.OPEN, [EPOCH_KEY], [b"run:1", b"another", b"holder-2", b"60000", b""])
        assert isinstance(found, list)
        assert found[0] == b"another"
        assert found[1] > 50_000, "nothing is lent until whoever was there has stopped"
        late = await run(made, scripts.BEAT, [EPOCH_KEY, alive_key(b"token")], [b"token", b"holder-1", b"60000"])
        assert isinstance(late, ServerError)
        made.close()


@needs_server
async def test_an_epoch_of_a_program_without_a_number_is_one_of_the_first_protocol(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        made, _ = await connect(server)
        await run(made, scripts.OPEN, [EPOCH_KEY], [b"run:1", b"token", b"holder-1", b"60000", b""])
        await made.ask(b"HDEL", EPOCH_KEY, b"protocol")
        found = await run(made, scripts.OPEN, [EPOCH_KEY], [b"run:1", b"another", b"holder-2", b"60000", b""])
        assert isinstance(found, list)
        assert found[0] == b"token"
        made.close()
