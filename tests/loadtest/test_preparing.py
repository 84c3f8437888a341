from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Needs, Operation
from keystile.loadtest.credentials import made
from keystile.loadtest.objectives import settle
from keystile.loadtest.plan import Target
from keystile.loadtest.preparing import CannotRun, Site, Wishes, adjusted, prepare, visible, width
from keystile.loadtest.scenarios import SCENARIOS

OPERATIONS = [
    Operation(("GET",), "/v4/contacts", Needs(all_of=frozenset({"ViewContacts"})), "api", "here", 0),
    Operation(("POST", "DELETE"), "/v4/contacts", Needs(all_of=frozenset({"ModifyContacts"})), "api", "here", 1),
]
OURS = Site(Target("127.0.0.1", 80, "127.0.0.1"), OPERATIONS, [made("all", "K" * 96, [])], "X-Api-Key", 20, True)
GIVEN = replace(OURS, is_ours=False)
FAR = replace(GIVEN, target=Target("10.0.0.1", 80, "gateway.test"))
NOTHING = Wishes()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_run_on_the_demonstrations_ground(name: str) -> None:
    plan, notes = prepare(SCENARIOS[name], NOTHING, OURS)
    assert plan.calls
    assert len(plan.sources) == SCENARIOS[name].addresses
    assert notes == ()
    assert bool(plan.rounds) == (name == "at-once")
    assert any(call.manner != "plain" for call in plan.calls) == (name == "slow")


def test_what_was_asked_for_takes_the_place_of_the_rows() -> None:
    found = adjusted(SCENARIOS["steady"], Wishes(users=3, rate=7, seconds=2))
    assert (found.users, found.rate, found.seconds) == (3, 7, 2)
    assert adjusted(SCENARIOS["steady"], NOTHING) == SCENARIOS["steady"]


def test_a_given_gateway_is_only_read_from_unless_writes_are_allowed() -> None:
    plan, notes = prepare(SCENARIOS["operations"], NOTHING, GIVEN)
    assert {call.method for call in plan.calls} == {"GET"}
    assert "--writes" in notes[0]
    plan, notes = prepare(SCENARIOS["operations"], Wishes(writes=True), GIVEN)
    assert {call.method for call in plan.calls} == {"GET", "POST", "DELETE"}
    assert notes == ()


def test_off_this_machine_all_come_from_one_address_and_that_is_said() -> None:
    plan, notes = prepare(SCENARIOS["addresses"], NOTHING, FAR)
    assert plan.sources == ()
    assert "one address" in notes[0]
    assert "too-many-at-once" in plan.may
    assert "200 callers share an address" in notes[1]
    assert prepare(SCENARIOS["steady"], NOTHING, FAR)[1] == ()


def test_a_crowd_above_the_cap_is_refused_without_fault() -> None:
    plan, notes = prepare(SCENARIOS["steady"], Wishes(users=21), OURS)
    assert plan.may == ("too-many-at-once",)
    assert "21 callers share an address" in notes[0]
    assert prepare(SCENARIOS["steady"], Wishes(users=20), OURS)[0].may == ()


def test_all_at_once_needs_a_path_that_takes_its_time() -> None:
    with pytest.raises(CannotRun, match="--held-path"):
        prepare(SCENARIOS["at-once"], NOTHING, GIVEN)
    plan, _ = prepare(SCENARIOS["at-once"], Wishes(held="/v4/slow?n=1"), GIVEN)
    assert [(call.template, call.target) for call in plan.calls] == [("/v4/slow", "/v4/slow?n=1")]
    assert (plan.rounds, plan.rate) == (4, None)


def test_a_cap_that_nobody_sees_is_not_judged_unless_somebody_asks() -> None:
    objectives = settle(["failed=0%", "cap=exact"], ())
    steady, at_once = (prepare(SCENARIOS[name], Wishes(held="/slow"), GIVEN)[0] for name in ("steady", "at-once"))
    found, notes = visible(objectives, (), steady, GIVEN)
    assert [each.name for each in found] == ["failed"]
    assert "not judged" in notes[0]
    for asked_for, plan, where in (((), at_once, GIVEN), ((), steady, OURS), (("cap=exact",), steady, GIVEN)):
        assert visible(objectives, asked_for, plan, where) == (objectives, ())


def test_strangers_call_a_given_gateway_too() -> None:
    plan, _ = prepare(SCENARIOS["permissions"], NOTHING, GIVEN)
    assert [key.name for key in plan.keys] == ["all", "unknown", "none"]


def test_slow_callers_at_a_given_gateway_only_read() -> None:
    plan, _ = prepare(SCENARIOS["slow"], NOTHING, GIVEN)
    assert [(call.method, call.manner) for call in plan.calls] == [("GET", "plain"), ("GET", "drip"), ("GET", "sip")]


def test_without_an_operation_there_is_nothing_to_call() -> None:
    with pytest.raises(CannotRun, match="no operation"):
        prepare(SCENARIOS["steady"], NOTHING, replace(GIVEN, operations=OPERATIONS[1:]))


@given(st.floats(1, 600))
def test_a_run_has_about_sixty_windows(seconds: float) -> None:
    assert 3.9 <= seconds / width(seconds) <= 60
