from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from keystile import __version__, build
from keystile.config.model import Database, SharedSlots
from keystile.limits.slots import SlotTable
from keystile.management.health import Health
from keystile.process import telling
from keystile.process.desk import Desk
from keystile.process.snapshot import Snapshot
from keystile.process.telling import LONGEST, MOST_TROUBLES, Telling, slots_of
from tests.relay.running import settings

KEY = b"k" * 32
DATABASE = Database("postgresql://db/keys", (("host", "db"),))


def desk(slots: SlotTable, health: Health = Health(), **more: object) -> Desk:  # noqa: B008 (frozen)
    async def asked() -> Health:
        return health

    taken = Snapshot(7, dataclasses.replace(settings(9), **{"database": DATABASE, **more}))  # type: ignore[arg-type]
    watch = SimpleNamespace(accepted=taken)
    return cast(Desk, SimpleNamespace(slots=slots, watch=watch, health=asked, standing_by=False))


@pytest.fixture
def slots() -> SlotTable:
    return SlotTable.create(64, 4)


async def test_it_says_what_runs_here_and_how_it_does(slots: SlotTable) -> None:
    says = await Telling(desk(slots, Health((), ("store: away",))))("id", KEY)
    assert says is not None
    assert (says.id, says.name, says.program, says.build) == ("id", os.uname().nodename, __version__, build())
    assert (says.configuration, says.slots, says.health, says.troubles) == (
        7, "by each host", "degraded", ("store: away",)
    )  # fmt: skip
    assert len(says.settings) == 12
    assert says.up > 0


async def test_another_gateway_is_another_run_and_a_new_management_of_the_same_is_not(slots: SlotTable) -> None:
    said = [await Telling(desk(each))("id", KEY) for each in (slots, slots, SlotTable.create(64, 4))]
    runs = [says.run for says in said if says]
    assert runs[0] == runs[1] != runs[2]
    assert slots.hash_key.hex() not in str(said)


async def test_a_name_that_was_chosen_is_its_name(slots: SlotTable) -> None:
    says = await Telling(desk(slots, database=dataclasses.replace(DATABASE, host_name="gateway-1")))("id", KEY)
    assert says is not None
    assert says.name == "gateway-1"


async def test_who_stands_by_says_nothing(slots: SlotTable) -> None:
    made = desk(slots)
    made.standing_by = True
    assert await Telling(made)("id", KEY) is None


async def test_a_print_is_made_once_for_each_configuration(slots: SlotTable, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def print_of(settings: object, contents: object, key: bytes) -> str:
        made.append(key)
        return f"print {len(made)}"

    monkeypatch.setattr(telling, "print_of", print_of)
    here = desk(slots)
    says = Telling(here)
    prints = [getattr(await says("id", KEY), "settings", None) for _ in range(2)]
    assert here.watch is not None
    here.watch.accepted = Snapshot(8, settings(9))
    prints += [getattr(await says("id", key), "settings", None) for key in (KEY, KEY, b"other")]
    assert prints == ["print 1", "print 1", "print 2", "print 2", "print 3"]


async def test_what_is_told_of_troubles_is_bounded(slots: SlotTable) -> None:
    many = Health(tuple(f"{number} \0{'x' * 500}" for number in range(30)))
    says = await Telling(desk(slots, many))("id", KEY)
    assert says is not None
    assert len(says.troubles) == MOST_TROUBLES
    assert {len(each) for each in says.troubles} == {LONGEST}
    assert "\0" not in "".join(says.troubles)


def test_where_slots_are_counted_is_told_without_who_we_are_there(tmp_path: Path) -> None:
    shared = SharedSlots("v.example.com", user="ann", password_file=tmp_path / "secret", when_unreachable="refuse")
    said = slots_of(dataclasses.replace(settings(9), slots=shared))
    assert said == "by valkey://v.example.com:6379/0 (refuse)"
