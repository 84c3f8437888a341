from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from keystile.process import desk
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
