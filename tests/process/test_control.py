from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from keystile.process.control import (
    AlreadyRunning,
    Control,
    NotRunning,
    ask,
    ask_for_difference,
    ask_to_reload,
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
    await control.start(dict, nothing, compare)
    answer = await asyncio.to_thread(ask_for_difference, store, file)
    assert (answer["fault"], len(answer["routes"][0])) == (None, 100_000)
    assert asked == [str(file)]
    control.close()


async def test_one_word_has_the_configuration_read(tmp_path: Path) -> None:
    async def read() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"fault": None}

    control = Control(tmp_path / "keystile.db")
    await control.start(dict, read, uncompared)
    assert await asyncio.to_thread(ask_to_reload, tmp_path / "keystile.db") == {"fault": None}
    control.close()


async def test_a_question_is_answered_with_one_object(tmp_path: Path) -> None:
    store = tmp_path / "keystile.db"
    control = Control(store)
    await control.start(lambda: {"configuration": 3}, nothing, uncompared)
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
    await control.start(dict, nothing, uncompared)
    assert await asyncio.to_thread(ask, store) == {}
    control.close()


@pytest.mark.parametrize("name", ["keystile.db", "k" * 200 + ".db"])
async def test_a_deep_directory_and_a_long_name_are_no_obstacle(tmp_path: Path, name: str) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    control = Control(deep / name)
    await control.start(lambda: {"here": True}, nothing, uncompared)
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
