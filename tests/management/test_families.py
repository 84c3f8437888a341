from __future__ import annotations

import re
from pathlib import Path

import pytest

from keystile.management.families import HELP, HISTOGRAMS, Place, place_of
from keystile.relay.counters import COUNTERS, GAUGES


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("requests", Place("requests_total")),
        ("connections", Place("connections")),
        ("status_4xx", Place("answers_total", "status", "4xx")),
        ("refused_no_key", Place("refusals_total", "refusal", "no_key")),
        ("handshakes", Place("tls_handshakes_total")),
        ("handshakes_refused_too_slow", Place("tls_handshakes_refused_total", "reason", "too_slow")),
        ("tls_1_2", Place("connections_opened_total", "version", "TLSv1.2")),
        ("connections_untrusted", Place("connections_turned_away_total", "reason", "untrusted")),
    ],
)
def test_a_counter_is_shown_under_the_name_that_prometheus_expects(name: str, place: Place) -> None:
    assert place_of(name, is_gauge=name in GAUGES) == place


def test_every_counter_of_the_relays_has_a_family_that_says_what_it_is_and_none_shares_a_place() -> None:
    apart = ("in_flight_at_", "loop_lag_microseconds")
    places = [
        place_of(name, is_gauge=name in GAUGES) for name in COUNTERS if ":" not in name and not name.startswith(apart)
    ]
    assert {place.family for place in places} - HELP.keys() == set()
    assert len(set(places)) == len(places)
    assert {name.partition(":")[0] for name in COUNTERS if ":" in name} == HISTOGRAMS.keys()


def test_a_gauge_is_no_total_and_a_label_is_no_part_of_a_name() -> None:
    for name in GAUGES:
        assert not place_of(name, is_gauge=True).family.endswith("_total")
    assert all(text.endswith((".", "always 1.")) for text in HELP.values())


def test_docs_metrics_lists_every_family_as_it_is() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `keystile_(\w+)` \| \w+ \| [^|]*\| (.*) \|$", page, re.MULTILINE))
    assert rows == HELP
