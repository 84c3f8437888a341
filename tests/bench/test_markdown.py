from __future__ import annotations

from bench.markdown import failures, tables
from bench.turn import Failure

from tests.bench.examples import paced, turn


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_a_line_has_every_figure_in_the_column_of_its_name() -> None:
    head, _, haproxy, keystile = tables([turn("haproxy", 20), turn("keystile", 30, start=0.61)]).splitlines()
    row = dict(zip(cells(head), cells(keystile), strict=True))
    assert row == {
        "case": "same request each time",
        "gateway": "keystile",
        "µs CPU/request (user + system)": "30.0 (22.5 + 7.5)",
        "to HAProxy (lowest–highest)": "1.50 (1.50–1.50)",
        "requests/s": "1,000",
        "p50 ms": "1.50",
        "p99 ms": "3.00",
        "MiB": "10",
        "start ms": "610",
    }
    assert cells(haproxy)[3] == "1.00 (1.00–1.00)"


def test_latency_has_a_table_of_its_own() -> None:
    turns = [turn("haproxy"), paced("direct", 100, 200), paced("haproxy", 140, 300), paced("keystile", 160, 350)]
    quick, slow = tables(turns).split("\n\n")
    assert len(quick.splitlines()) == 3
    head, rule, direct, _, keystile = slow.splitlines()
    assert cells(head)[0] == "at 2,000 requests/s"
    assert len(cells(head)) == len(cells(rule)) == len(cells(direct)) == len(cells(keystile)) == 9
    assert cells(direct)[3:7] == ["", "", "", ""]
    assert cells(keystile)[3:7] == ["0.060", "1.50 (1.50–1.50)", "0.150", "1.50 (1.50–1.50)"]
    assert cells(keystile)[8] == "0.030"


def test_only_latency_makes_no_empty_table() -> None:
    assert tables([paced("direct", 100, 200)]).startswith("| at 2,000")


def test_a_case_of_an_older_bench_goes_by_its_name() -> None:
    assert "| forgotten | keystile |" in tables([turn("keystile", case="forgotten")])


def test_failures_are_told_once_with_their_number() -> None:
    every = [Failure(number, "tls", "caddy", "died\nwith many words") for number in (1, 2)]
    assert failures([*every, Failure(1, "429", "caddy", "hung")]) == (
        "Failed 2 ×: caddy in tls: died\nFailed 1 ×: caddy in 429: hung\n"
    )
    assert failures([]) == ""
