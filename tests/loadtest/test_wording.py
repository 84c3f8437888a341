from __future__ import annotations

import pytest

from keystile.loadtest import wording
from keystile.loadtest.objectives import Verdict, parse


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("p99=50ms", "≤ 50 ms"),
        ("failed=0.1%", "≤ 0.1 %"),
        ("throughput=250/s", "≥ 250 / s"),
        ("throughput=95%", "≥ 95 % of the rate"),
        ("cap=exact", "exact"),
    ],
)
def test_limits_are_told_in_words(text: str, limit: str) -> None:
    assert wording.limit(parse(text)) == limit


def test_what_was_measured_is_told_in_the_same_unit() -> None:
    assert wording.measured(Verdict(parse("throughput=95%"), 0.9, False)) == "90 % of the rate"
    assert wording.measured(Verdict(parse("p99=50ms"), None, False)) == "unknown"
