from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.management.metrics import counter_samples, exposition, labels, wants_open_metrics

GAUGES = {"connections"}
LINE = re.compile(r'keystile_[a-z_]+(\{[a-z]+="[^"]*"\})? [0-9.e+]+')


def test_counters_become_families_with_types_and_labels() -> None:
    counters = {"requests": 5, "connections": 2, "status_2xx": 4, "status_4xx": 1, "refused_no_key": 1}
    assert exposition(counter_samples(counters, GAUGES)).splitlines() == [
        "# HELP keystile_answers_total Answers by class of status.",
        "# TYPE keystile_answers_total counter",
        'keystile_answers_total{status="2xx"} 4',
        'keystile_answers_total{status="4xx"} 1',
        "# HELP keystile_connections Client connections that are open.",
        "# TYPE keystile_connections gauge",
        "keystile_connections 2",
        "# HELP keystile_refusals_total Requests that the gateway itself refused, by reason.",
        "# TYPE keystile_refusals_total counter",
        'keystile_refusals_total{refusal="no_key"} 1',
        "# HELP keystile_requests_total Requests that have ended, however they ended.",
        "# TYPE keystile_requests_total counter",
        "keystile_requests_total 5",
    ]


def test_a_histograms_buckets_are_cumulative_and_in_order_and_its_sum_is_in_seconds() -> None:
    buckets = {"0.5": 2, "2.5": 1, "10.0": 0, "+Inf": 4, "sum": 1_500_000_000}
    counters = {f"upstream:{bound}": count for bound, count in buckets.items()}
    assert exposition(counter_samples(counters, GAUGES)).splitlines()[1:] == [
        "# TYPE keystile_upstream_duration_seconds histogram",
        'keystile_upstream_duration_seconds_bucket{le="0.5"} 2',
        'keystile_upstream_duration_seconds_bucket{le="2.5"} 3',
        'keystile_upstream_duration_seconds_bucket{le="10.0"} 3',
        'keystile_upstream_duration_seconds_bucket{le="+Inf"} 7',
        "keystile_upstream_duration_seconds_sum 1.5",
        "keystile_upstream_duration_seconds_count 7",
    ]


def test_in_open_metrics_a_counters_family_has_no_total_units_are_named_and_the_text_ends() -> None:
    samples = [("process_cpu_seconds_total", 'role="relay"', 1.25), ("held_bytes", "", 3), ("requests_total", "", 4)]
    lines = exposition(samples, open_metrics=True).splitlines()
    assert [line for line in lines if not line.startswith("# HELP")] == [
        "# TYPE keystile_held_bytes gauge",
        "# UNIT keystile_held_bytes bytes",
        "keystile_held_bytes 3",
        "# TYPE keystile_process_cpu_seconds counter",
        "# UNIT keystile_process_cpu_seconds seconds",
        'keystile_process_cpu_seconds_total{role="relay"} 1.25',
        "# TYPE keystile_requests counter",
        "keystile_requests_total 4",
        "# EOF",
    ]
    assert [line.split()[2] for line in lines if line.startswith("# HELP")] == [
        "keystile_held_bytes",
        "keystile_process_cpu_seconds",
        "keystile_requests",
    ]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1", True),
        ("application/openmetrics-text; version=1.0.0", True),
        ("Application/OpenMetrics-Text", True),
        ("application/openmetrics-text;version=1.0.0;q=0", False),
        ("application/openmetrics-text;version=1.0.0;q=0.000", False),
        ("application/openmetrics-text;version=0.0.1", False),
        ("text/plain", False),
        ("*/*", False),
        ("", False),
        (";;,=", False),
    ],
)
def test_open_metrics_are_for_who_asks_for_them(accept: str, wanted: bool) -> None:
    assert wants_open_metrics(accept) is wanted


def test_numbers_are_not_rounded() -> None:
    assert "keystile_bytes_in_total 1099511627777\n" in exposition([("bytes_in_total", "", 2**40 + 1)])
    assert exposition([("x", "", 0.1)]).endswith("keystile_x 0.1\n")
    assert exposition([("x", "", 1.8e9)]).endswith("keystile_x 1800000000\n")


def test_a_labels_value_is_escaped() -> None:
    assert labels(file='a"b\\c\nd', place="") == 'file="a\\"b\\\\c\\nd",place=""'


names = st.from_regex(r"(requests|status_[1-5]xx|refused_[a-z]{1,9}|connections)", fullmatch=True)


@given(st.dictionaries(names, st.integers(0, 2**52)))
def test_every_line_is_a_comment_or_a_sample_and_no_family_stands_twice(counters: dict[str, int]) -> None:
    lines = exposition(counter_samples(counters, GAUGES)).splitlines()
    assert all(line.startswith("# ") or LINE.fullmatch(line) for line in lines if line)
    types = [line for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
