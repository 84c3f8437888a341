"""Connections to a management of real processes, over an upgrade and at the end."""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from keystile.process.control import ask_to_upgrade
from tests.process.running import Running, is_alive, until

Start = Callable[..., Running]


def kept(running: Running) -> http.client.HTTPConnection:
    """A connection that has been used, and never connects again by itself."""
    where = urlsplit(running.management)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    connection.connect()
    connection.auto_open = 0
    assert ask(connection) == (200, False)
    return connection


def ask(connection: http.client.HTTPConnection) -> tuple[int, bool]:
    """The status of an answer, and whether it says that its connection ends."""
    connection.request("GET", "/health")
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.will_close


def test_a_replaced_management_answers_once_more_says_that_connections_end_and_does_not_wait_for_ever(
    gateway: Start,
) -> None:
    running = gateway(parts="full", workers=1).wait_until_ready()
    (old,) = running.pids("management")
    idle, *connections = [kept(running) for _ in range(4)]
    answers: list[dict[str, object]] = []
    upgrading = threading.Thread(target=lambda: answers.append(ask_to_upgrade(running.store)))
    upgrading.start()
    last = []
    try:
        for connection in connections:
            while not (said := ask(connection))[1]:
                assert said[0] == 200
            last.append(said)
            connection.close()
    finally:
        upgrading.join()
    assert last == [(200, True)] * 3
    assert answers[0]["fault"] is None
    assert not is_alive(old)
    assert idle.sock.recv(1) == b""
    idle.close()
    again = kept(running)
    assert ask(again) == (200, False)
    again.close()


def test_an_end_waits_for_no_idle_connection(gateway: Start) -> None:
    running = gateway(parts="full", workers=1).wait_until_ready()
    (management,) = running.pids("management")
    idle = kept(running)
    running.process.send_signal(signal.SIGTERM)
    assert idle.sock.recv(1) == b""
    idle.close()
    assert running.process.wait(20) == 0
    until(lambda: not is_alive(management))
