from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keystile import __version__, build
from keystile.process.supervisor import LONGEST_PAUSE, pause_before
from tests.process.running import Running, is_alive, until

Start = Callable[..., Running]


def test_pauses_between_starts_grow_from_none_to_five_seconds() -> None:
    pauses = [pause_before(failures) for failures in range(1, 12)]
    assert pauses[:4] == [0.0, 0.1, 0.2, 0.4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pause_before(10_000) == LONGEST_PAUSE


def test_it_starts_serves_reports_and_ends_with_0(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    status = running.status()
    assert [entry["role"] for entry in status["processes"]] == ["supervisor", "management", "relay", "relay"]
    assert status["processes"][0]["pid"] == running.process.pid
    assert (status["version"], status["build"]) == (__version__, build())
    assert status["listeners"] == [{"address": f"127.0.0.1:{running.port}", "tls": False}]
    assert (status["configuration"], status["slots_taken"], status["restarts"]) == (1, 0, 0)
    assert status["store"] == str(running.store)
    assert int(running.say("pid")) in running.pids("relay")
    pids = [entry["pid"] for entry in status["processes"]]
    assert running.terminate() == 0
    assert not any(is_alive(pid) for pid in pids)
    assert not running.store.with_name("keystile.db.control").exists()


def test_no_process_shows_more_than_numbers_and_names_on_its_command_line(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    for pid in running.pids("relay") + running.pids("management"):
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            assert str(running.directory) not in file.read()


def test_a_killed_relay_is_replaced_and_no_connection_is_refused(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    with running.one_at_each() as idle:
        killed = next(iter(idle))
        os.kill(killed, signal.SIGKILL)
        for _ in range(50):
            assert running.say("pid")  # none refused, none lost, while it is down
        until(lambda: len(running.pids("relay")) == 2 and killed not in running.pids("relay"))
        del idle[killed]
        for owner, connection in idle.items():
            assert int(running.say("pid", connection)) == owner
    assert running.status()["restarts"] == 1


def test_connections_wait_for_the_only_relay_to_come_back(gateway: Start) -> None:
    running = gateway(workers=1).wait_until_ready()
    [before] = running.pids("relay")
    os.kill(before, signal.SIGKILL)
    assert int(running.say("pid")) != before


def test_slots_of_a_killed_relay_are_back_within_a_second(gateway: Start) -> None:
    running = gateway(workers=1).wait_until_ready()
    with running.connect() as connection:
        rows = [int(running.say("take", connection)) for _ in range(21)]
        assert rows[-1] == -1
        assert running.status()["slots_taken"] == running.status()["slots_highest"] == 20
        os.kill(running.pids("relay")[0], signal.SIGKILL)
        until(lambda: running.status()["slots_taken"] == 0, within=1.0)


def test_a_killed_management_comes_back_and_traffic_goes_on(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    relays, [management] = running.pids("relay"), running.pids("management")
    with running.connect() as connection:
        os.kill(management, signal.SIGKILL)
        assert int(running.say("pid", connection)) in relays
        until(lambda: running.pids("management") not in ([], [management]))
        assert int(running.say("pid", connection)) in relays
    assert running.pids("relay") == relays


def test_children_end_with_the_supervisor_even_one_that_is_stopped(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    children = running.pids("relay") + running.pids("management")
    os.kill(children[0], signal.SIGSTOP)
    running.process.kill()
    until(lambda: not any(is_alive(pid) for pid in children), within=2.0)


def test_a_gateway_starts_again_where_one_was_killed(gateway: Start) -> None:
    first = gateway().wait_until_ready()
    first.process.kill()
    first.process.wait()
    second = gateway().wait_until_ready()
    assert second.status()["processes"][0]["pid"] == second.process.pid


def test_a_second_gateway_on_the_same_store_is_refused(gateway: Start) -> None:
    first = gateway().wait_until_ready()
    second = gateway()
    assert second.process.wait(10) == 1
    assert "another gateway is running on the store" in second.errors.read_text()
    assert first.say("pid")


def test_a_taken_port_is_named(gateway: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        running = gateway(port=port)
        assert running.process.wait(10) == 1
    text = f"cannot listen on 127.0.0.1:{port}: the port is in use by another program"
    assert text in running.errors.read_text()


def test_a_first_start_that_fails_ends_the_gateway_with_the_reason(gateway: Start, tmp_path: Path) -> None:
    (tmp_path / "boom").touch()
    running = gateway()
    assert running.process.wait(10) == 1
    assert "not started: OSError: boom, as asked for" in running.errors.read_text()


def test_a_relay_that_cannot_come_back_is_tried_again_ever_more_slowly(gateway: Start, tmp_path: Path) -> None:
    running = gateway().wait_until_ready()
    (tmp_path / "boom").touch()
    killed = running.pids("relay")[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: running.errors.read_text().count("boom") >= 3)
    assert running.say("pid")  # the other serves
    (tmp_path / "boom").unlink()
    until(lambda: len(running.pids("relay")) == 2 and running.status()["restarts"] >= 3)


def test_requests_in_flight_are_finished_before_the_end(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    with running.connect() as connection:
        connection.sendall(b"slow 0.8\n")
        time.sleep(0.2)
        running.process.send_signal(signal.SIGTERM)
        assert connection.recv(100).strip().isdigit()
        with pytest.raises(OSError, match="refused"):
            running.connect()
    assert running.process.wait(5) == 0


def test_what_does_not_finish_is_cut_after_the_drain_timeout(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    with running.connect() as connection:
        connection.sendall(b"slow 60\n")
        time.sleep(0.2)
        began = time.monotonic()
        assert running.terminate() == 0
        assert 1.5 < time.monotonic() - began < 5


def test_a_second_sigterm_ends_at_once(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    with running.connect() as connection:
        connection.sendall(b"slow 60\n")
        time.sleep(0.2)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert running.process.poll() is None
        assert running.terminate() == 0
        assert time.monotonic() - began < 1.5


def test_sigint_is_as_sigterm(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(5) == 0


def test_a_signal_to_the_whole_group_still_drains(gateway: Start) -> None:
    # A service manager signals every process: a relay then hears of the end twice.
    running = gateway().wait_until_ready()
    everybody = [entry["pid"] for entry in running.status()["processes"]]
    with running.connect() as connection:
        connection.sendall(b"slow 0.8\n")
        time.sleep(0.2)
        for pid in everybody:
            os.kill(pid, signal.SIGTERM)
        assert connection.recv(100).strip().isdigit()
    assert running.process.wait(5) == 0


def test_a_relay_stopped_with_the_mutex_is_ended_and_the_others_count_on(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    with running.one_at_each() as held:
        victim, other = held
        held[victim].sendall(b"mutex\n")
        time.sleep(0.2)
        os.kill(victim, signal.SIGSTOP)
        until(lambda: int(running.say("take", held[other])) >= 0, within=2.0)
        until(lambda: victim not in running.pids("relay"), within=2.0)
    assert f"relay {victim} is stopped while it counts for all" in running.errors.read_text()


def test_while_one_relay_is_stopped_the_others_serve(gateway: Start) -> None:
    running = gateway().wait_until_ready()
    stopped = running.pids("relay")[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert {running.say("pid") != str(stopped) for _ in range(50)} == {True}
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_a_relay_that_stays_silent_is_ended_so_that_nobody_waits_without_bound(gateway: Start) -> None:
    running = gateway(parts="impatient").wait_until_ready()
    with running.one_at_each() as held:
        victim = next(iter(held))
        os.kill(victim, signal.SIGSTOP)
        assert held[victim].recv(100) == b"", "the connection to the silent relay ends"
        until(lambda: victim not in running.pids("relay"), within=2.0)
        until(lambda: len(running.pids("relay")) == 2)
    assert f"relay {victim} gave no sign of life for 1.5 s: killed" in running.errors.read_text()
