from __future__ import annotations

import pytest
from bench.table import Spread, added, gateways, latency, paired, rows, spread

from tests.bench.examples import paced, turn


def test_a_ratio_is_to_haproxys_turn_of_the_same_round() -> None:
    ours = [turn("keystile", 30, number=1), turn("keystile", 60, number=2), turn("keystile", 99, number=3)]
    theirs = [turn("haproxy", 20, number=1), turn("haproxy", 40, number=2)]
    assert paired(ours, theirs) == pytest.approx([1.5, 1.5])


def test_a_row_has_medians_and_the_spread_of_its_ratios() -> None:
    turns = [turn("haproxy", 10, number=number) for number in (1, 2, 3)]
    turns += [turn("keystile", micro, number=number + 1, start=micro / 10) for number, micro in enumerate((10, 12, 20))]
    row = rows(turns)[1]
    assert (row.gateway, row.rounds) == ("keystile", 3)
    assert (row.cpu, row.user, row.system) == pytest.approx((12, 9, 3))
    assert row.ratio is not None
    assert (row.ratio.median, row.ratio.low, row.ratio.high) == pytest.approx((1.2, 1.0, 2.0))
    assert row.start == pytest.approx(1200)
    assert (row.p50, row.p99, row.memory) == (1.5, 3.0, 10)
    assert row.others == pytest.approx(0.02)


def test_without_haproxy_there_is_no_ratio_and_without_a_start_none_of_it() -> None:
    row = rows([turn("keystile", start=None)])[0]
    assert (row.ratio, row.start) == (None, None)


def test_rows_stand_in_the_order_in_which_cases_and_gateways_first_ran() -> None:
    turns = [turn("a", case="x"), turn("b", case="x"), turn("b", case="y"), turn("a", case="y")]
    assert [(row.case, row.gateway) for row in rows(turns)] == [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b")]


def test_a_first_case_with_fewer_gateways_does_not_set_their_order() -> None:
    turns = [turn("a", case="x"), turn("c", case="x"), *(turn(name, case="y") for name in "abc"), turn("d", case="z")]
    assert [row.gateway for row in rows(turns)] == ["a", "c", "a", "b", "c", "d"]
    assert gateways(rows(turns)) == ["a", "b", "c", "d"]
    turns = [turn("a", case="x"), turn("c", case="x"), *(turn(name, case="y") for name in "cba")]
    assert [row.gateway for row in rows(turns)] == ["c", "a", "c", "b", "a"]


def test_the_load_without_a_gateway_has_no_row_of_cpu() -> None:
    assert [row.gateway for row in rows([paced("direct", 100, 200), paced("haproxy", 150, 300)])] == ["haproxy"]


def test_added_latency_is_the_difference_within_a_round() -> None:
    straight = [paced("direct", 100, 200, number=1), paced("direct", 300, 400, number=2)]
    ours = [
        paced("keystile", 150, 260, number=1),
        paced("keystile", 380, 500, number=2),
        paced("keystile", 1, 1, number=3),
    ]
    assert added(ours, straight, lambda one: one.load.p50) == {1: 50, 2: 80}
    assert added(straight, straight, lambda one: one.load.p50) == {}


def test_the_ratio_of_added_latency_is_to_what_haproxy_adds_in_the_same_round() -> None:
    turns = [
        *(paced("haproxy", 140, 280, number=number) for number in (1, 2)),
        *(paced("direct", 100, 200, number=number) for number in (1, 2)),
        paced("keystile", 160, 300, number=1, late=50),
        paced("keystile", 180, 320, number=2, late=70),
    ]
    straight, haproxy, ours = latency(turns)
    assert [row.gateway for row in (straight, haproxy, ours)] == ["direct", "haproxy", "keystile"]
    assert (straight.added_p50, straight.added_p99, straight.ratio_p50) == (None, None, None)
    assert (haproxy.added_p50, haproxy.added_p99) == pytest.approx((0.04, 0.08))
    assert (ours.p50, ours.p99) == pytest.approx((0.17, 0.31))
    assert (ours.added_p50, ours.added_p99) == pytest.approx((0.07, 0.11))
    assert ours.ratio_p50 is not None
    assert ours.ratio_p99 is not None
    assert (ours.ratio_p50.median, ours.ratio_p50.low, ours.ratio_p50.high) == pytest.approx((1.75, 1.5, 2.0))
    assert ours.ratio_p99.median == pytest.approx(1.375)
    assert ours.late == pytest.approx(0.07)


def test_a_round_in_which_haproxy_added_nothing_has_no_ratio() -> None:
    turns = [paced("direct", 100, 200), paced("haproxy", 120, 190), paced("keystile", 140, 260)]
    ours = latency(turns)[2]
    assert ours.ratio_p50 is not None
    assert ours.ratio_p50.median == pytest.approx(2.0)
    assert ours.ratio_p99 is None


def test_two_rates_are_two_measurements() -> None:
    turns = [paced("direct", 100, 200, rate=rate) for rate in (1000.0, 2000.0)]
    assert [row.rate for row in latency(turns)] == [1000, 2000]


def test_cases_as_fast_as_answers_come_have_no_row_of_latency() -> None:
    assert latency([turn("keystile")]) == []


def test_a_spread_reads_as_a_median_with_its_ends() -> None:
    assert str(spread([1.0, 2.0, 1.5])) == "1.50 (1.00–2.00)"
    assert spread([]) is None
    assert spread([2.0]) == Spread(2.0, 2.0, 2.0)
