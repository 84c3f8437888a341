"""The names of a relay's counters; that each says what it names: ``test_record.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

from keystile.process.memory import MOST_COUNTERS, MOST_NAMES
from keystile.process.supervisor import Parts
from keystile.relay import record
from keystile.relay.counters import COUNTERS, GAUGES, OF_SHARED_SLOTS, SINGLE
from keystile.relay.handshakes import Handshakes
from keystile.relay.record import Recorder
from keystile.wire.door import TurnedAway


def test_they_are_found_where_a_running_supervisor_of_an_older_version_looks_for_them() -> None:
    assert {part.name: part.default for part in fields(Parts)}["counters"] == "keystile.relay.record"
    assert (record.COUNTERS, record.GAUGES) == (COUNTERS, GAUGES)


def test_a_gauge_is_a_counter_and_no_two_are_called_the_same() -> None:
    assert set(COUNTERS) >= GAUGES
    assert len(set(COUNTERS)) == len(COUNTERS)


def test_the_names_fit_into_a_page() -> None:
    assert len(COUNTERS) < MOST_COUNTERS
    assert sum(len(name) + 1 for name in COUNTERS) < MOST_NAMES


def test_every_name_has_its_number_in_its_place() -> None:
    stored: dict[str, int] = {}

    def store(names: Sequence[str], numbers: Sequence[int]) -> None:
        stored.update(zip(names, numbers, strict=True))

    channel: Any = SimpleNamespace(send=lambda kind, payload: True)
    recorder = Recorder(channel, store, Handshakes(lambda: 0.0), logs=False)
    told = {
        "bytes_held": 3, "cut_for_memory": 4, "tunnels_open": 5, "tunnels_opened": 6, "retried_elsewhere": 7,
        "waiting_for_server": 8, "requests_shed": 9, "connections_shed": 10, "upstream_idle": 11, "upstream_opened": 12,
        "upstream_connect_failures": 13, "servers_left_out": 14, "level": 2, "route_counts_dropped": 15,
    }  # fmt: skip
    for name, number in told.items():
        setattr(recorder, name, number)
    recorder.turned_away = {why: 20 + at for at, why in enumerate(TurnedAway)}
    recorder.shared = {name: 30 + at for at, name in enumerate(OF_SHARED_SLOTS)}
    recorder.lag = 0.5
    recorder.flush(1, 2, True)
    expected = {
        "connections": 1, "in_flight": 2, "store_unreadable": 1, "bytes_held": 3, "connections_cut_for_memory": 4,
        "websockets_open": 5, "websockets": 6, "upstream_retries": 7, "upstream_queued": 8, "requests_shed": 9,
        "connections_shed": 10, "upstream_connections_idle": 11, "upstream_connections_opened": 12,
        "upstream_connect_failures": 13, "upstream_breaker_opened": 14, "relays_holding_back": 1, "relays_shedding": 1,
        "route_counts_dropped": 15, "loop_lag_microseconds": 500_000,
        "connections_too_many": 20 + list(TurnedAway).index(TurnedAway.TOO_MANY),
        "connections_untrusted": 20 + list(TurnedAway).index(TurnedAway.UNTRUSTED),
        "connections_bad_header": 20 + list(TurnedAway).index(TurnedAway.BAD_HEADER),
        **{name: 30 + at for at, name in enumerate(OF_SHARED_SLOTS)},
    }  # fmt: skip
    assert {name: number for name, number in stored.items() if number} == expected
    assert set(SINGLE) <= set(stored)
