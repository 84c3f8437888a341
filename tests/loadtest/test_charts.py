from __future__ import annotations

from dataclasses import replace

from keystile.loadtest import charts
from keystile.loadtest.records import Window
from tests.loadtest.examples import record, windows


def names(chart: charts.Chart) -> list[str]:
    return [path.name for path in chart.plot.paths]


def test_a_run_shows_throughput_times_refusals_requests_in_flight_and_the_load() -> None:
    found = {chart.id: chart for chart in charts.of_run(record())}
    assert list(found) == ["throughput", "times", "refusals", "in-flight", "load"]
    assert names(found["throughput"]) == ["answered", "refused, rightly", "asked for"]
    assert names(found["times"]) == ["p50", "p95", "p99"]
    assert names(found["refusals"]) == ["scope-missing"]
    assert found["in-flight"].plot.limit is not None
    assert found["in-flight"].plot.limit.label == "cap: 20"
    assert "let in, as the API saw it" in names(found["in-flight"])


def test_what_nobody_saw_is_not_drawn() -> None:
    unseen = tuple(replace(window, served=None, refused={}) for window in windows())
    found = {chart.id: chart for chart in charts.of_run(record(windows=unseen, rate=None))}
    assert "refusals" not in found
    assert "let in, as the API saw it" not in names(found["in-flight"])
    assert "asked for" not in names(found["throughput"])


def test_requests_that_are_held_open_on_purpose_have_no_plot_of_times() -> None:
    untimed = tuple(replace(window, latency={}) for window in windows())
    assert "times" not in {chart.id for chart in charts.of_run(record(windows=untimed))}


def test_every_plot_has_its_numbers_as_a_table() -> None:
    for chart in charts.of_run(record()):
        assert len(chart.rows) == 10
        assert {len(row) for row in chart.rows} == {len(chart.heads)}
        assert chart.says


def test_a_limit_that_is_not_drawn_is_still_said() -> None:
    fast = charts.of_run(record(windows=windows(took=0.0001)))[1]
    assert fast.plot.limit is None
    assert fast.notes == ("p99 objective: 50 ms, far above these lines",)


def test_a_run_without_windows_draws_nothing_and_fails_nowhere() -> None:
    for chart in charts.of_run(record(windows=(), addresses=(), seconds=0.0)):
        assert all(path.d == "" for path in chart.plot.paths)
    assert charts.of_run(record(windows=(Window(0),)))


def test_two_runs_lie_upon_one_another() -> None:
    found = charts.of_two(record(), record(windows=windows(20), seconds=20.0))
    assert [chart.id for chart in found] == ["throughput", "p50", "p95", "p99"]
    assert {tuple(names(chart)) for chart in found} == {("before", "after")}
    assert len(found[0].rows) == 20


def test_two_runs_with_other_windows_have_no_common_table() -> None:
    found = charts.of_two(record(), record(width=0.5, seconds=5.0))
    assert {chart.rows for chart in found} == {()}
