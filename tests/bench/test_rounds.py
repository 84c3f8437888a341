from __future__ import annotations

import subprocess

import pytest
from bench.cases import CASES
from bench.plan import Step, steps
from bench.record import Record
from bench.rounds import line, play
from bench.turn import Failure

from tests.bench.examples import RUN, paced, turn
from tests.bench.fakes import Played, gateways


def planned(rounds: int) -> list[Step]:
    return steps(rounds, [CASES["same"]], gateways("a", "b"))


def test_every_turn_is_kept_before_the_next_begins(capsys: pytest.CaptureFixture[str]) -> None:
    record, kept = Record([dict(RUN)]), []
    play(Played(), planned(2), record, 4.0, lambda: kept.append(len(record.turns)))
    assert kept == [1, 2, 3, 4]
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4
    assert "[1 of 4, about " in told[0]
    assert told[-1].endswith("[4 of 4]")


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("died"),
        OSError("refused"),
        subprocess.TimeoutExpired("wrk", 3),
        ValueError("no JSON"),
        KeyError("id"),
    ],
)
def test_a_turn_that_fails_is_told_and_recorded_and_the_others_go_on(
    fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    record, kept = Record([dict(RUN)]), []
    play(Played({"a": fault}), planned(1), record, 4.0, lambda: kept.append(len(record.failures)))
    assert record.failures == [Failure(1, "same", "a", str(fault))]
    assert [each.gateway for each in record.turns] == ["b"]
    assert kept == [1, 1]
    assert f"FAILED: {fault}" in capsys.readouterr().out


def test_who_has_failed_twice_in_a_case_is_not_tried_there_again() -> None:
    record, bench = Record([dict(RUN)]), Played({"a": RuntimeError("died")})
    play(bench, planned(4), record, 4.0, lambda: None)
    assert [number for number, _, name in bench.asked if name == "a"] == [1, 2]
    assert [failure.reason for failure in record.failures] == [
        "died",
        "died",
        *["not tried again after 2 failures"] * 2,
    ]
    assert len(record.turns) == 4


def test_without_the_backend_the_run_is_over() -> None:
    record = Record([dict(RUN)])
    with pytest.raises(RuntimeError, match="the backend has ended: no room"):
        play(Played({"b": RuntimeError("502")}, backend_ended=True), planned(2), record, 4.0, lambda: None)
    assert [each.gateway for each in record.turns] == ["a"]


def test_a_programming_error_is_not_taken_for_a_gateways_fault() -> None:
    with pytest.raises(TypeError):
        play(Played({"a": TypeError()}), planned(1), Record([dict(RUN)]), 4.0, lambda: None)


def test_a_line_tells_cost_rate_and_start() -> None:
    told = line(turn("keystile", 26.4, start=0.61))
    assert "26.40 µs/request" in told
    assert "1,000/s" in told
    assert "start 0.61 s" in told
    assert "late" not in told


def test_a_line_of_a_paced_turn_tells_latency_and_how_late_it_was_sent() -> None:
    told = line(paced("direct", 100.4, 210.0, late=30.2))
    assert "p50 100 p99 210 late 30 µs" in told
    assert "start" not in told
