from __future__ import annotations

from collections.abc import Callable

from keystile.process import control
from tests.process.running import Running

Start = Callable[..., Running]


def test_who_asks_is_told_what_is_wrong(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    answer = control.ask_to_reload(running.store)
    assert (answer["number"], answer["changed"]) == (1, False)
    assert "gateway.yaml" in answer["fault"]
    assert running.status()["configuration"] == 1
