from __future__ import annotations

import pytest

from keystile.loadtest.objectives import settle
from keystile.loadtest.scenarios import LONGEST, MOST_RATE, MOST_USERS, SCENARIOS, Scenario
from keystile.relay.refusal import Refusal

ALL = pytest.mark.parametrize("row", SCENARIOS.values(), ids=list(SCENARIOS))


def test_the_scenarios_are_those_that_were_asked_for() -> None:
    assert list(SCENARIOS) == [
        "steady",
        "ramp",
        "spike",
        "at-once",
        "addresses",
        "slow",
        "permissions",
        "operations",
    ]


@ALL
def test_every_scenario_is_modest(row: Scenario) -> None:
    assert row.seconds <= 30 <= LONGEST
    assert row.users <= 200 <= MOST_USERS
    assert (row.rate or 0) <= 1000 <= MOST_RATE


@ALL
def test_every_scenario_states_objectives_that_can_be_read(row: Scenario) -> None:
    assert {"failed", "cap"} <= {each.name for each in settle(row.objectives, ())}


@ALL
def test_what_is_no_fault_is_a_refusal_of_the_gateways(row: Scenario) -> None:
    assert set(row.may) <= {refusal.slug for refusal in Refusal}


@ALL
def test_nobody_is_above_the_usual_cap_but_where_that_is_the_point(row: Scenario) -> None:
    assert row.users / row.addresses <= 20 or "too-many-at-once" in row.may
