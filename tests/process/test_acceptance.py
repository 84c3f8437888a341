"""Another configuration takes the place of the one in force: real processes; relays obey, refuse, hang and die."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from keystile.config.model import Listener
from keystile.process.control import ask
from tests.process.running import Running, until
from tests.process.stand_in import offer, told

Start = Callable[..., Running]


@pytest.fixture
def running(gateway: Start) -> Running:
    """A gateway with two relays."""
    return gateway().wait_until_ready()


def paths(running: Running) -> set[str]:
    """By which configurations requests are answered, over many connections."""
    return {running.say("path") for _ in range(20)}


def configuration(running: Running) -> int:
    number: int = ask(running.store)["configuration"]
    return number


@contextmanager
def calling(running: Running) -> Iterator[list[Exception]]:
    """Call on new connections all the time while the block lasts; those that got no answer."""
    lost: list[Exception] = []
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            try:
                running.say("path")
            except OSError as error:
                lost.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield lost
    finally:
        over.set()
        caller.join()


def test_every_relay_works_by_it_and_so_do_those_that_come_later(running: Running, tmp_path: Path) -> None:
    with running.connect() as kept:
        owner = running.say("pid", kept)
        assert offer(tmp_path, 2, health_path="/two") == {"considered": 2, "fault": None, "last": 2}
        assert running.say("path", kept) == "/two"
        assert running.say("pid", kept) == owner
    assert paths(running) == {"/two"}
    assert configuration(running) == 2
    for pid in running.pids("relay"):
        os.kill(pid, signal.SIGKILL)
    assert paths(running) == {"/two"}


def test_where_one_relay_refuses_it_all_go_on_as_before(running: Running, tmp_path: Path) -> None:
    answer = offer(tmp_path, 2, health_path="/refuse")
    assert (answer["considered"], answer["fault"]) == (2, "ValueError: as asked for")
    assert paths(running) == {"None"}
    assert configuration(running) == 1
    assert offer(tmp_path, 3, health_path="/three")["fault"] is None
    assert paths(running) == {"/three"}


def test_a_relay_that_does_not_answer_is_killed_rather_than_left_behind(gateway: Start, tmp_path: Path) -> None:
    running = gateway(parts="impatient").wait_until_ready()
    before = set(running.pids("relay"))
    assert offer(tmp_path, 2, health_path="/hang")["fault"] is None
    until(lambda: len(set(running.pids("relay")) - before) == 1)
    assert paths(running) == {"/hang"}
    assert "has not taken configuration 2" in running.errors.read_text()


def test_a_configuration_by_which_processes_die_is_put_back(running: Running, tmp_path: Path) -> None:
    assert offer(tmp_path, 2, health_path="/die")["fault"] is None
    with calling(running) as lost, running.connect() as kept:
        owner = int(running.say("pid", kept))
        os.kill(next(pid for pid in running.pids("relay") if pid != owner), signal.SIGKILL)
        until(lambda: any("put_back" in one for one in told(tmp_path)), within=30)
        assert int(running.say("pid", kept)) == owner
    # New connections went on to the relay that stood; one that the dead one had accepted may be lost with it.
    assert len(lost) <= 1
    (back,) = [one for one in told(tmp_path) if "put_back" in one]
    assert back["put_back"] == 1
    assert "SIGKILL" in back["fault"]
    until(lambda: len(running.pids("relay")) == 2)
    assert paths(running) == {"None"}
    status = running.status()
    assert (status["configuration"], status["configurations_put_back"]) == (1, 1)
    # Its number is not given again: the log must be able to tell the two apart.
    assert "there was a configuration 2" in offer(tmp_path, 2, health_path="/again")["fault"]
    assert offer(tmp_path, 3, health_path="/three")["fault"] is None


def _two_others(running: Running, gone: set[int]) -> bool:
    return len(set(running.pids("relay")) - gone) == 2


def test_processes_that_are_killed_once_each_do_not_put_it_back(running: Running, tmp_path: Path) -> None:
    """Found by chaos: a relay and management were killed as they had just begun, and a good configuration went."""
    assert offer(tmp_path, 2, health_path="/two")["fault"] is None
    for _ in range(2):  # those that were there before it, and those that come then
        killed = set(running.pids("relay"))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(partial(_two_others, running, killed))
    until(lambda: running.status()["restarts"] == 4)
    assert paths(running) == {"/two"}
    assert (configuration(running), running.status()["configurations_put_back"]) == (2, 0)


def test_listeners_come_and_go_and_connections_stay(running: Running, tmp_path: Path) -> None:
    first = Listener("127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    with running.connect() as kept:
        assert offer(tmp_path, 2, listeners=(first, Listener("127.0.0.1", free)))["fault"] is None
        for port in (running.port, free):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as fresh:
                assert running.say("pid", fresh)
        assert offer(tmp_path, 3, listeners=(Listener("127.0.0.1", free),))["fault"] is None
        assert running.say("pid", kept)
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        with socket.create_connection(("127.0.0.1", free), timeout=10) as fresh:
            assert running.say("pid", fresh)


def test_an_address_that_cannot_be_had_changes_nothing(running: Running, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listeners = (Listener("127.0.0.1", 0), Listener("127.0.0.1", other.getsockname()[1]))
        fault = offer(tmp_path, 2, listeners=listeners, health_path="/two")["fault"]
    assert "the port is in use by another program" in fault
    assert paths(running) == {"None"}


def test_what_cannot_change_is_said(running: Running, tmp_path: Path) -> None:
    fault = offer(tmp_path, 2, workers=5)["fault"]
    assert fault == "workers cannot change while the gateway runs; restart it"


def test_a_killed_management_finds_what_is_in_force(running: Running, tmp_path: Path) -> None:
    assert offer(tmp_path, 2, health_path="/two")["fault"] is None
    [management] = running.pids("management")
    os.kill(management, signal.SIGKILL)
    until(lambda: running.pids("management") not in ([], [management]))
    assert offer(tmp_path, 3, workers=5)["fault"] is not None  # the next one reads it before it offers its own
    assert paths(running) == {"/two"}
