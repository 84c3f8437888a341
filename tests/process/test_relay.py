from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.process.running import Running, until

Start = Callable[..., Running]


def test_a_relay_told_to_end_finishes_its_request_and_is_replaced(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    with running.connect() as connection:
        owner = int(running.say("pid", connection))
        connection.sendall(b"slow 0.5\n")
        os.kill(owner, signal.SIGTERM)
        assert int(connection.recv(100)) == owner
    until(lambda: owner not in running.pids("relay") and len(running.pids("relay")) == 2)
    assert f"relay {owner} ended with status 0" in running.errors.read_text()


def test_a_relay_told_twice_ends_now(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    with running.connect() as connection:
        owner = int(running.say("pid", connection))
        connection.sendall(b"slow 60\n")
        os.kill(owner, signal.SIGTERM)
        time.sleep(0.3)
        assert owner in running.pids("relay")
        os.kill(owner, signal.SIGTERM)
        connection.settimeout(1)
        assert connection.recv(1) == b""


def test_a_bad_file_named_by_the_settings_does_not_keep_a_relay_from_coming_back(gateway: Start) -> None:
    # There is no gateway.yaml at all in this directory: children never look for it.
    running = gateway(workers=1).wait_until_ready()
    assert not (running.directory / "gateway.yaml").exists()
    [before] = running.pids("relay")
    os.kill(before, signal.SIGKILL)
    assert int(running.say("pid")) != before


def test_an_interrupt_from_the_terminal_is_the_supervisors_affair(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    relays = running.pids("relay")
    for pid in relays:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGUSR2)
    assert running.say("pid")
    assert running.pids("relay") == relays
