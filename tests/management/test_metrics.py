from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from keystile.management.metrics import counter_samples, exposition

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


def test_big_numbers_are_not_rounded() -> None:
    assert "keystile_bytes_in_total 1099511627777\n" in exposition([("bytes_in_total", "", 2**40 + 1)])


names = st.from_regex(r"(requests|status_[1-5]xx|refused_[a-z]{1,9}|connections)", fullmatch=True)


@given(st.dictionaries(names, st.integers(0, 2**52)))
def test_every_line_is_a_comment_or_a_sample_and_no_family_stands_twice(counters: dict[str, int]) -> None:
    lines = exposition(counter_samples(counters, GAUGES)).splitlines()
    assert all(line.startswith("# ") or LINE.fullmatch(line) for line in lines if line)
    types = [line for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
