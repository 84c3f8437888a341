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


def test_who_asks_what_would_change_is_told(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    file = running.directory / "gateway.yaml"
    file.write_text("workers: many\n")
    answer = control.ask_for_difference(running.store, file)
    assert answer["number"] == 1
    assert "workers" in answer["fault"]
