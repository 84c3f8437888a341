from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.cases import CASES
from bench.keyset import make_keys
from bench.load import OPEN_LOOP, Load, Pace, _result
from bench.open_loop import schedule

from tests.bench.test_open_loop import at_once, server

WRK = {"status": 0, "connect": 0, "read": 0, "write": 0, "timeout": 0}


def said(**more: Any) -> subprocess.CompletedProcess[str]:
    line = {"requests": 10, "microseconds": 2_000_000, "p50": 900, "p99": 1500, "faults": dict(WRK), **more}
    return subprocess.CompletedProcess([], 0, f"wrk's own words\nBENCH {json.dumps(line)}\n", "")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.setattr("bench.load.VARIED_REQUESTS", 3)
    return Load(make_keys(4), tmp_path, min(os.sched_getaffinity(0)), rate=500)


def test_what_wrk_says_is_read() -> None:
    result = _result(said(), 0.5, 0)
    assert (result.requests, result.seconds, result.p50, result.p99) == (10, 2.0, 900, 1500)
    assert (result.faults, result.cpu, result.pace) == ({}, 0.5, None)


def test_faults_are_those_that_happened() -> None:
    assert _result(said(faults={**WRK, "read": 2}), 0, 0).faults == {"read": 2}


def test_a_refusal_that_is_asked_for_is_no_fault_and_an_answer_that_is_none_is() -> None:
    assert _result(said(faults={**WRK, "status": 10}), 0, 401).faults == {}
    assert _result(said(faults={**WRK, "status": 7}), 0, 401).faults == {"let in": 3}
    assert _result(said(), 0, 401).faults == {"let in": 10}


def test_a_load_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no route"):
        _result(subprocess.CompletedProcess([], 1, "", "no route"), 0, 0)


def test_the_open_loop_tells_its_pace() -> None:
    pace = Pace(2000, 5, 30, 90, 2)
    told = {"rate": 2000, "late_p50": 5, "late_p99": 30, "late_most": 90, "waited": 2}
    assert _result(said(pace=told), 0, 0).pace == pace


def test_a_paced_case_is_the_open_loops_and_the_others_are_wrks(load: Load) -> None:
    paced = load.command(CASES["latency"], 8080, 3)
    assert [sys.executable, "-I", str(OPEN_LOOP)] == paced[3:6]
    assert paced[paced.index("--rate") + 1] == "500"
    assert "wrk" in load.command(CASES["same"], 8080, 3)


def test_a_paced_load_is_sent_by_its_schedule(load: Load) -> None:
    with server(at_once, load.same.stat().st_size) as port:
        result = load.run(CASES["latency"], port, 0.2)
    assert result.requests == len(schedule(500, 0.2))
    assert result.faults == {}
    assert result.pace is not None
    assert result.pace.rate == 500
    assert result.cpu > 0
