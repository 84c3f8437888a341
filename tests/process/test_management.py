from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from keystile.keys.service import KeyService
from keystile.process.control import ask_to_reload
from keystile.storage.sqlite import SqliteStore
from tests.process.running import Running, until

Start = Callable[..., Running]


def _get(running: Running, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(running.management + path, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def _metrics(running: Running) -> dict[str, float]:
    lines = _get(running, "/metrics")[1].splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if line[0] != "#")}


def _health(running: Running) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_get(running, "/health")[1])
    return answer


def test_health_and_metrics_tell_of_the_whole_gateway(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    assert _get(running, "/health") == (200, '{"status": "ok"}')
    with running.connect() as connection:
        for _ in range(3):
            running.say("take", connection)
        # the stand-in counts a request after its answer has gone out
        until(lambda: _metrics(running)["keystile_requests_total"] == 3)
        metrics = _metrics(running)
    assert metrics["keystile_slots_taken"] == metrics["keystile_slots_highest"] == 3
    assert metrics["keystile_relays_up"] == 2
    assert metrics["keystile_keys"] == 0


def test_counts_do_not_go_back_when_a_relay_dies(gateway: Start) -> None:
    running = gateway(parts="full", workers=1).wait_until_ready()
    with running.connect() as connection:
        for _ in range(5):
            running.say("pid", connection)
    until(lambda: _metrics(running)["keystile_requests_total"] == 5)
    os.kill(running.pids("relay")[0], signal.SIGKILL)
    running.say("pid")
    until(lambda: _metrics(running)["keystile_requests_total"] == 6)
    until(lambda: _metrics(running)["keystile_restarts_total"] == 1)


def test_no_counter_goes_back_whoever_is_killed(gateway: Start) -> None:
    running = gateway(parts="full", workers=1).wait_until_ready()
    seen: dict[str, float] = {}

    def look() -> bool:
        try:
            now = {name: value for name, value in _metrics(running).items() if "_total" in name}
        except OSError:  # nobody is there just now
            return False
        assert {name: value for name, value in seen.items() if now.get(name, -1) < value} == {}
        seen.update(now)
        return True

    until(look)
    # There is no gateway.yaml here: every reading finds it wrong, and management alone counts that.
    for role in ("management", "relay", "management"):
        until(lambda: "gateway.yaml" in ask_to_reload(running.store)["fault"], within=30)  # it may just start
        running.say("pid")
        until(look)
        [killed] = running.pids(role)
        os.kill(killed, signal.SIGKILL)
        until(lambda was=killed, role=role: running.pids(role) not in ([], [was]) and look())  # type: ignore[misc]
    running.say("pid")
    until(lambda: look() and seen["keystile_requests_total"] >= 4)
    assert seen["keystile_configurations_refused_total"] >= 3
    assert seen["keystile_restarts_total"] == 3


def test_a_stopped_relay_is_named_by_health(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    stopped = running.pids("relay")[0]
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: _health(running)["status"] == "degraded", within=5)
    assert f"relay {stopped} silent" in _health(running)["warnings"][0]
    os.kill(stopped, signal.SIGCONT)
    until(lambda: _health(running)["status"] == "ok")


def test_access_log_lines_come_out_of_standard_output_at_the_latest_at_the_end(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    for number in range(20):
        assert running.say(f"log line {number}") == "True"
    assert running.terminate() == 0
    assert running.out.read().decode().splitlines() == [f"line {number}" for number in range(20)]


def test_a_blocked_standard_output_blocks_nothing(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    with running.connect() as connection:
        for _ in range(300):  # far more than the pipe takes, and nobody reads
            running.say("log " + "x" * 1000, connection)
        assert _get(running, "/health")[0] == 200
    began = time.monotonic()
    assert running.terminate() == 0
    assert time.monotonic() - began < 5


async def test_a_last_use_is_in_the_store_within_a_second(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    async with await SqliteStore.open(running.store) as store:
        service = KeyService(store)
        await service.create_account("owner@example.com", actor="test", origin="test")
        key = (await service.create("owner@example.com", "one", actor="test", origin="test")).key
        running.say(f"use {key.id}")
        began = time.monotonic()
        while not (await store.keys())[0].last_used_at:
            assert time.monotonic() - began < 1
            await asyncio.sleep(0.02)
        assert (await store.keys())[0].last_used_from == "192.0.2.7"


def test_a_store_that_cannot_be_opened_keeps_the_gateway_from_starting_and_is_named(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    assert running.terminate() == 0
    running.store.write_bytes(b"this is not a database, whatever its name says" * 100)
    again = gateway(parts="full")
    assert again.process.wait(10) == 1
    assert "not started: " in again.errors.read_text()
    assert "Traceback" not in again.errors.read_text()
