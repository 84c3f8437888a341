from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from keystile.management import hosts as telling
from keystile.management.hosts import Hosts
from keystile.management.metrics import exposition
from keystile.storage.errors import unreadable
from keystile.storage.hosts import UNHEARD, Host, HostSays, id_of, known_id
from tests.relay.running import until
from tests.storage.test_hosts import ONE, host

OTHER = replace(ONE, id="f" * 16, name="other", settings="bbbb", program="0.2.0")


class Table:
    """Hosts in a dictionary; ``away``: nothing can be asked."""

    def __init__(self, *others: HostSays) -> None:
        self.rows: dict[str, Host] = {each.id: host(each) for each in others}
        self.said: list[tuple[HostSays, bool]] = []
        self.away = False
        self.refuses = 0
        self.left: list[tuple[str, str]] = []
        self.is_closed = False

    async def print_key(self) -> bytes:
        self._be_there()
        return b"key"

    async def say(self, says: HostSays, *, anew: bool) -> bool:
        self._be_there()
        self.said.append((says, anew))
        if self.refuses:
            self.refuses -= 1
            return False
        self.rows[says.id] = host(says)
        return True

    async def all(self) -> tuple[Host, ...]:
        self._be_there()
        return tuple(self.rows.values())

    async def leave(self, host_id: str, run: str) -> None:
        if self.away:
            await asyncio.Event().wait()
        self.left.append((host_id, run))

    async def close(self) -> None:
        self.is_closed = True

    def _be_there(self) -> None:
        if self.away:
            raise unreadable("postgresql://db/keys", "the database cannot be reached")


class Ground:
    def __init__(self, folder: Path, *others: HostSays) -> None:
        self.now = 0.0
        self.mirror = folder / "keystile-mirror.db"
        self.table = Table(*others)
        self.speaks = True
        self.hosts = Hosts(self.table, self.mirror, self.says, lambda: self.now)

    async def says(self, host_id: str, key: bytes) -> HostSays | None:
        assert key == b"key"
        return replace(ONE, id=host_id) if self.speaks else None


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path, OTHER)


async def test_it_says_who_it_is_and_shows_who_else_is_there_without_asking_again(ground: Ground) -> None:
    assert ground.hosts.states() == ()
    await ground.hosts.speak()
    await ground.hosts.speak()
    assert [anew for _, anew in ground.table.said] == [True, False]
    assert {says.id for says, _ in ground.table.said} == {id_of(ground.mirror)}
    ground.table.away = True
    seen = {state.says.name: state for state in ground.hosts.states()}
    assert (seen["one"].here, seen["other"].here, seen["other"].other_settings) == (True, False, True)
    ground.now += UNHEARD + 1
    assert {state.is_heard for state in ground.hosts.states()} == {False}  # nobody knows, this one either


async def test_a_process_that_another_speaks_for_only_looks(ground: Ground) -> None:
    ground.speaks = False
    await ground.hosts.speak()
    assert ground.table.said == []
    assert [state.says.name for state in ground.hosts.states()] == ["other"]
    await ground.hosts.close(stays=False)
    assert ground.table.left == []


async def test_a_host_whose_id_another_has_too_takes_a_new_one(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    await ground.hosts.speak()
    before = known_id(ground.mirror)
    ground.table.refuses = 1
    await ground.hosts.speak()
    assert "another host has this one's id" in caplog.text
    after = known_id(ground.mirror)
    assert after != before
    assert [(says.id, anew) for says, anew in ground.table.said] == [(before, True), (before, False), (after, True)]


async def test_a_database_that_is_away_is_said_once_and_when_it_is_back_again(
    ground: Ground, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(telling, "EVERY", 0.001)
    ground.table.away = True
    running = asyncio.create_task(ground.hosts.run())
    await until(lambda: ground.hosts.trouble != "")
    assert ground.hosts.trouble == "the database cannot be reached"
    await asyncio.sleep(0.01)
    ground.table.away = False
    await until(lambda: ground.hosts.states() != ())
    running.cancel()
    await asyncio.wait([running])
    assert ground.hosts.trouble == ""
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the hosts cannot be told of: the store postgresql://db/keys: the database cannot be reached",
        "the hosts can be told of again",
    ]


async def test_a_fault_of_ours_is_logged_whole_and_the_next_saying_comes(
    ground: Ground, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "EVERY", 0.001)
    faults = [ZeroDivisionError("ours")]

    async def says(host_id: str, key: bytes) -> HostSays | None:
        if faults:
            raise faults.pop()
        return replace(ONE, id=host_id)

    hosts = Hosts(ground.table, ground.mirror, says)
    running = asyncio.create_task(hosts.run())
    await until(lambda: hosts.states() != ())
    running.cancel()
    await asyncio.wait([running])
    assert "ZeroDivisionError" in caplog.text


async def test_who_stops_takes_its_row_away_and_who_is_replaced_does_not(ground: Ground) -> None:
    await ground.hosts.speak()
    await ground.hosts.close(stays=True)
    assert ground.table.left == []
    assert ground.table.is_closed
    await ground.hosts.close(stays=False)
    assert ground.table.left == [(known_id(ground.mirror), ONE.run)]


async def test_a_database_that_stands_still_does_not_hold_up_the_end(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LEAVE_WITHIN", 0.01)
    await ground.hosts.speak()
    ground.table.away = True
    await ground.hosts.close(stays=False)
    assert ground.table.left == []
    assert ground.table.is_closed


async def test_a_fault_of_ours_at_the_end_does_not_keep_the_rest_from_being_closed(
    ground: Ground, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(host_id: str, run: str) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(ground.table, "leave", leave)
    await ground.hosts.speak()
    await ground.hosts.close(stays=False)
    assert "ZeroDivisionError" in caplog.text
    assert ground.table.is_closed


async def test_metrics_tell_how_many_there_are_and_how_many_differ(ground: Ground) -> None:
    ground.table.rows["gone"] = host(replace(OTHER, id="gone"), UNHEARD + 1)
    await ground.hosts.speak()
    said = exposition(ground.hosts.samples()).splitlines()
    for line in ("keystile_hosts 2", "keystile_hosts_other_configuration 1", "keystile_hosts_other_program 1"):
        assert line in said
