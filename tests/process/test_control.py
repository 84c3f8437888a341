from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from keystile.process.control import (
    AlreadyRunning,
    Control,
    NotRunning,
    answer_on,
    ask,
    ask_for_difference,
    ask_to_reload,
    ask_to_upgrade,
    control_path,
)


async def nothing() -> dict[str, Any]:
    raise AssertionError("nobody has asked for that")


async def uncompared(file: str) -> dict[str, Any]:
    raise AssertionError("nobody has asked for that")


async def test_another_word_and_a_path_have_it_compared(tmp_path: Path) -> None:
    asked: list[str] = []

    async def compare(file: str) -> dict[str, Any]:
        asked.append(file)
        return {"fault": None, "routes": ["x" * 100_000]}

    store, file = tmp_path / "keystile.db", tmp_path / f"a file \udcff{'d' * 200}.yaml"
    control = Control(store)
    await control.start(dict, nothing, compare, never)
    answer = await asyncio.to_thread(ask_for_difference, store, file)
    assert (answer["fault"], len(answer["routes"][0])) == (None, 100_000)
    assert asked == [str(file)]
    control.close()


async def never(connection: int) -> dict[str, Any]:
    raise AssertionError(f"nobody has asked for an upgrade on {connection}")


async def test_one_word_has_the_configuration_read(tmp_path: Path) -> None:
    async def read() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"fault": None}

    control = Control(tmp_path / "keystile.db")
    await control.start(dict, read, uncompared, never)
    assert await asyncio.to_thread(ask_to_reload, tmp_path / "keystile.db") == {"fault": None}
    control.close()


async def test_a_question_is_answered_with_one_object(tmp_path: Path) -> None:
    store = tmp_path / "keystile.db"
    control = Control(store)
    await control.start(lambda: {"configuration": 3}, nothing, uncompared, never)
    path = tmp_path / "keystile.db.control"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await asyncio.to_thread(ask, store) == {"configuration": 3}
    control.close()
    assert not path.exists()


async def test_a_leftover_socket_is_replaced(tmp_path: Path) -> None:
    store = tmp_path / "keystile.db"
    with socket.socket(socket.AF_UNIX) as leftover:
        leftover.bind(str(control_path(store)))
    control = Control(store)
    await control.start(dict, nothing, uncompared, never)
    assert await asyncio.to_thread(ask, store) == {}
    control.close()


@pytest.mark.parametrize("name", ["keystile.db", "k" * 200 + ".db"])
async def test_a_deep_directory_and_a_long_name_are_no_obstacle(tmp_path: Path, name: str) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    control = Control(deep / name)
    await control.start(lambda: {"here": True}, nothing, uncompared, never)
    assert await asyncio.to_thread(ask, deep / name) == {"here": True}
    control.close()


def test_a_second_gateway_on_a_store_is_refused_also_by_another_name(tmp_path: Path) -> None:
    store, alias = tmp_path / "keystile.db", tmp_path / "alias.db"
    store.touch()
    alias.symlink_to(store)
    first = Control(store)
    for name in (store, alias):
        with pytest.raises(AlreadyRunning, match="another gateway is running on the store"):
            Control(name)
    first.close()
    Control(alias).close()


def test_nobody_answers_where_no_gateway_runs(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no gateway answers"):
        ask(tmp_path / "keystile.db")
    with pytest.raises(NotRunning):
        ask(tmp_path / "nowhere" / "keystile.db")


async def test_who_asks_for_an_upgrade_may_be_answered_by_the_next_program(tmp_path: Path) -> None:
    store = tmp_path / "keystile.db"
    copies: list[int] = []
    over = asyncio.Event()

    async def upgrade(connection: int) -> dict[str, Any]:
        copies.append(os.dup(connection))
        await over.wait()
        return {"fault": "nobody reads this"}

    control = Control(store)
    await control.start(dict, nothing, uncompared, upgrade)
    asking = asyncio.create_task(asyncio.to_thread(ask_to_upgrade, store))
    while not copies:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    answer_on(copies[0], {"fault": None})
    assert await asyncio.wait_for(asking, 10) == {"fault": None}
    over.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=5)
    control.close()


async def test_who_asks_during_a_pause_waits_and_who_has_asked_is_answered_first(tmp_path: Path) -> None:
    store = tmp_path / "keystile.db"
    asked = asyncio.Event()

    async def read() -> dict[str, Any]:
        asked.set()
        await asyncio.sleep(0.05)
        return {"fault": None}

    control = Control(store)
    await control.start(lambda: {"here": True}, read, uncompared, never)
    first = asyncio.create_task(asyncio.to_thread(ask_to_reload, store))
    await asked.wait()
    await control.pause()
    assert control._asking == 0
    late = asyncio.create_task(asyncio.to_thread(ask, store))
    assert await first == {"fault": None}
    await asyncio.sleep(0.1)
    assert not late.done()
    await control.go_on()
    assert await late == {"here": True}
    control.close()
    await control.go_on()
    with pytest.raises(NotRunning):
        await asyncio.to_thread(ask, store)


async def test_lock_and_socket_are_taken_up_as_they_are(tmp_path: Path) -> None:
    store = tmp_path / "keystile.db"
    before = Control(store)
    await before.start(lambda: {"who": "before"}, nothing, uncompared, never)
    await before.pause()
    handed = before.handed()
    after = Control(store, (os.dup(handed["lock"]), os.dup(handed["control"])))
    await after.start(lambda: {"who": "after"}, nothing, uncompared, never)
    assert await asyncio.to_thread(ask, store) == {"who": "after"}
    with pytest.raises(AlreadyRunning):
        Control(store)
    after.close()
    before.close()
