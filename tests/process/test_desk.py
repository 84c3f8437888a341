from __future__ import annotations

from collections.abc import Callable

from keystile.process import desk
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
