from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keystile.config.model import Metrics
from keystile.keys.service import KeyService
from keystile.process import desk
from keystile.process.memory import CounterPages
from keystile.relay.counters import GAUGES
from keystile.storage.passwords import Passwords, passwords_of
from keystile.storage.sqlite import SqliteStore
from tests.management.coming_in import ANN, BY, CHEAP, PASSWORD
from tests.process.running import Running
from tests.process.test_management import _get

Start = Callable[..., Running]


def test_its_numbers_go_on_over_configurations_and_its_health_over_relays(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    assert _get(running, "/health") == (200, '{"status": "ok"}')
    assert "keystile_relays_up 2" in _get(running, "/metrics")[1]


def test_a_relay_is_called_stuck_before_it_is_killed() -> None:
    from keystile.process.supervisor import SILENT_AT_MOST

    assert desk.SILENT < SILENT_AT_MOST


async def test_overloaded_relays_are_a_warning_that_says_what_they_do() -> None:
    class Counters:
        def relays(self) -> list[int]:
            return [1, 2, 3]

        def totals(self, names: object, gauges: object) -> dict[str, int]:
            return dict(totals)

    one = cast(desk.Desk, SimpleNamespace(counters=Counters(), names=(), gauges=()))
    totals = {desk.HOLDING_BACK: 0, desk.SHEDDING: 0}
    assert await desk.Desk._check_overload(one) is None
    totals = {desk.HOLDING_BACK: 2, desk.SHEDDING: 1}
    said = "2 of 3 relays take few new connections, 1 refuse requests"
    assert await desk.Desk._check_overload(one) == said
    assert {desk.HOLDING_BACK, desk.SHEDDING} <= GAUGES


def counting(pages: CounterPages, *, standing_by: bool = False) -> desk.Desk:
    """A desk that only counts."""
    parts: dict[str, Any] = {name: SimpleNamespace(dropped=0, failures=0) for name in ("uses", "usage", "old_tls")}
    parts |= dict.fromkeys(("settings", "slots", "store", "exposures", "servers"))
    parts |= {"lines": SimpleNamespace(dropped=0, dropped_before=0), "receiver": SimpleNamespace(unknown=0)}
    return desk.Desk(counters=pages, names=(), gauges=(), standing_by=standing_by, **parts)


def test_who_stands_by_shows_what_the_one_before_has_counted_and_keeps_nothing_of_its_own() -> None:
    pages = CounterPages.create(1)
    before, after = counting(pages), counting(pages, standing_by=True)
    before.uses.dropped, before.usage.failures, before.receiver.unknown = 3, 2, 1
    before.keep()
    after.keep()  # which would be nothing but zeros
    after.count_on()
    assert (after.uses.dropped, after._write_failures(), after.receiver.unknown) == (3, 2, 1)
    before.usage.failures += 5
    before.keep()
    after.standing_by = False
    after.count_on()
    after.usage.failures += 1
    after.keep()
    assert pages.tally().kept(desk.KEPT)["write_failures"] == 8
    pages.close()


def test_sums_by_route_go_on_with_the_next_process_and_a_left_over_that_is_none_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pages = CounterPages.create(1)
    before, after = counting(pages), counting(pages)
    before.requests.add_routes(b'[["GET", "/a", 200, "", 5]]')
    before.keep()
    after.count_on()
    assert list(after.requests.samples(Metrics())) == list(before.requests.samples(Metrics())) != []
    for left in (b"no zlib", zlib.compress(b"{"), zlib.compress(b'{"requests": {"routes": [5]}}')):
        pages.ledger().write(left)
        caplog.clear()
        counting(pages).count_on()
        assert len(caplog.messages) == 1
    pages.close()


def test_sums_that_do_not_fit_are_said_and_shown_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    pages = CounterPages.create(1)
    one = counting(pages)
    one.requests.add_routes(json.dumps([["GET", f"/{os.urandom(3_000_000).hex()}", 200, "", 5]]).encode())
    one.requests.add_routes(json.dumps([["GET", f"/{os.urandom(3_000_000).hex()}", 200, "", 5]]).encode())
    one.keep()
    assert "will begin anew" in caplog.messages[0]
    assert len(list(one.requests.samples(Metrics()))) == 2
    pages.close()


def _lose(file: Path) -> None:
    for each in file.parent.glob(f"{file.name}*"):
        each.unlink()


async def test_health_warns_where_the_passwords_file_was_lost_until_one_is_set(tmp_path: Path) -> None:
    path = tmp_path / "keystile.db"
    pages = CounterPages.create(1)
    async with await SqliteStore.open(path) as store:
        one = counting(pages)
        one.passwords, one.had_passwords = await Passwords.open(path, CHEAP), await store.had_passwords()
        assert not one.had_passwords, "nobody was to have one"
        keys = KeyService(store)
        account = await keys.create_account(ANN, False, **BY)
        assert not await store.had_passwords()
        await keys.note_password_set(ANN, **BY)
        await one.passwords.set_password(account.id, PASSWORD)
        one.had_passwords = await store.had_passwords()
        assert await one._check_passwords() is None
        _lose(passwords_of(path))
        said = await one._check_passwords()
        assert said is not None
        assert said.startswith("cannot be read, nobody can sign in: ")
        await one.passwords.close()
        one.passwords = await Passwords.open(path, CHEAP)
        assert await one._check_passwords() == desk.LOST
        await one.passwords.set_password(account.id, PASSWORD)
        assert await one._check_passwords() is None
        await one.passwords.close()
        await keys.delete_account(ANN, **BY)
        assert not await store.had_passwords(), "there is nobody whom it would keep out"
    pages.close()
