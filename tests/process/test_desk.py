from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from keystile.process import desk
from keystile.process.memory import CounterPages
from keystile.relay.record import GAUGES
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
