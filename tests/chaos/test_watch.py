from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any, cast

import pytest

from tests.chaos import watch
from tests.chaos.ground import WORKERS
from tests.chaos.watch import Backwards, at_the_end, doomed, of_log, secrets_in

STAMP = "2026-11-28T00:00:00Z keystile: "
METRICS = 'keystile_requests_total {}\nkeystile_refusals_total{{refusal="draining"}} {}\nkeystile_connections 5\n'


def test_counters_that_only_grow_are_right_and_gauges_are_none() -> None:
    counters = Backwards()
    counters.take(METRICS.format(5, 1))
    counters.take(METRICS.format(5, 2).replace("connections 5", "connections 2"))
    assert (counters.fell, counters.samples) == ([], 2)


def test_a_counter_that_falls_is_told_even_after_a_sample_without_it() -> None:
    counters = Backwards()
    counters.take(METRICS.format(5, 2))
    counters.take("keystile_requests_total 6\n")
    counters.take(METRICS.format(6, 1))
    assert counters.fell == ['refusals_total{refusal="draining"} fell from 2 to 1']


@pytest.mark.parametrize(("name", "told"), [("configurations_taken_total", 0), ("requests_total", 1)])
def test_only_managements_own_counters_begin_anew_with_it(name: str, told: int) -> None:
    counters = Backwards()
    counters.take(f"keystile_{name} 5\n")
    counters.renewed = True
    counters.take(f"keystile_{name} 1\n")
    assert len(counters.fell) == told
    counters.take(f"keystile_{name} 0\n")
    assert len(counters.fell) == told + 1


def status(relays: int = WORKERS, slots: int = 0) -> dict[str, object]:
    roles = ["supervisor", "management", *["relay"] * relays]
    return {"processes": [{"role": role, "pid": 1} for role in roles], "slots_taken": slots}


def test_a_slot_that_is_left_and_a_process_that_is_missing_are_told() -> None:
    assert at_the_end(status()) == []
    assert at_the_end(status(slots=1)) == ["1 slots are taken at the end"]
    assert len(at_the_end(status(relays=1))) == 1


def test_deaths_that_are_ours_are_none_of_the_gateways() -> None:
    deaths = ("11 was ended by SIGKILL", "12 was ended by SIGSEGV", "13 ended with status 0")
    log = "".join(f"{STAMP}relay {death}\n" for death in deaths)
    assert of_log(log, {11}) == ["relay 12 was ended by SIGSEGV and nobody did that"]


def test_a_configuration_that_was_put_back_is_told_unless_we_had_killed_who_died_by_it() -> None:
    why = "management 11 was ended by SIGKILL at its start"
    line = f"{STAMP}configuration 8 is put back, because processes die by it: {why}"
    assert of_log(line, {11}) == []
    assert of_log(line, {12}) == [f"in the log: {line}"]


def test_a_traceback_in_the_log_is_told() -> None:
    assert of_log("Traceback (most recent call last):\n  File\n", set()) != []


def test_who_was_killed_for_being_stopped_by_us_is_known() -> None:
    log = f"{STAMP}relay 11 is stopped while it counts for all: killed\n{STAMP}relay 12 gave no sign of life for 15 s\n"
    assert doomed(log, {11}) == {11}
    assert doomed(log, {11, 12, 13}) == {11, 12}


def test_a_secret_in_a_log_is_told_without_being_said(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("path /x?key=GEHEIM")
    assert secrets_in([log, tmp_path / "none"], [b"OTHER", b"GEHEIM"]) == ["secret 1 stands in access.log"]


async def test_looks_at_the_same_time_are_taken_in_the_order_in_which_they_were_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some events look, too: an answer that waits for the status must not be taken behind a later one."""
    counted, asked = itertools.count(1), itertools.count(1)
    monkeypatch.setattr(watch, "_metrics", lambda management: METRICS.format(next(counted), 1))

    class Gateway:
        management = "http://127.0.0.1"

        def pids(self, role: str) -> list[int]:
            if next(asked) % 4 == 3:  # of two looks at once: what the first asks after its answer
                time.sleep(0.02)
            return [7]

    looking = watch.Watch(cast(Any, Gateway()))
    for _ in range(10):
        await asyncio.gather(looking.look(), looking.look())
    assert looking.counters.samples == 20
    assert looking.counters.fell == []
