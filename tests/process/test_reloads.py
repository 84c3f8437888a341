from __future__ import annotations

import signal
from collections.abc import Callable

from keystile.process.reloads import Reloads
from tests.process.running import Running, until

Start = Callable[..., Running]


async def test_without_a_management_nothing_is_waited_for() -> None:
    assert await Reloads(lambda: None).ask() == {"fault": "management is just being started; try again"}


def test_a_hangup_is_passed_on(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    running.process.send_signal(signal.SIGHUP)
    # There is no gateway.yaml in this directory, and management has to say so.
    until(lambda: "the configuration was not taken, 1 stays in force" in running.errors.read_text())
    assert running.say("pid")
