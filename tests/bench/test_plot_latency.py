from __future__ import annotations

import pytest
from bench.plot_latency import Scale, latency_panel
from bench.svg import Card
from bench.table import latency

from tests.bench.examples import paced


def scale(*added: tuple[float, float]) -> Scale:
    """For gateways that add so much (p50, p99, in microseconds)."""
    turns = [paced("direct", 100, 200), *(paced(f"g{place}", 100 + a, 200 + b) for place, (a, b) in enumerate(added))]
    return Scale.of([row for row in latency(turns) if row.added_p50 is not None], 100.0, 500.0)


def test_a_scale_goes_from_round_number_to_round_number() -> None:
    made = scale((44, 90), (300, 3100))
    assert (made.low, made.high) == pytest.approx((0.02, 5.0))
    assert made.ticks() == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5])


def test_equal_steps_of_a_scale_are_equal_factors() -> None:
    made = Scale(0.01, 10.0, 100.0, 400.0)
    assert [made.at(value) for value in (0.01, 0.1, 1.0, 10.0)] == pytest.approx([100, 200, 300, 400])


def test_what_adds_nothing_stands_where_the_scale_begins() -> None:
    made = scale((-5, 40), (20, 80))
    assert made.at(-0.005) == made.at(0.0) == made.at(made.low) == 100.0


@pytest.mark.parametrize("added", [(-5, -5), (0, 0), (100, 100)])
def test_a_scale_is_never_without_length(added: tuple[float, float]) -> None:
    made = scale(added)
    assert made.high > made.low > 0
    assert len(made.ticks()) >= 2


def test_where_nothing_was_added_there_is_no_panel() -> None:
    card = Card()
    assert latency_panel(card, latency([paced("direct", 100, 200)]), 77.0, 36.0, {}) == 77.0
    assert "Added" not in card.document(10, "x")
