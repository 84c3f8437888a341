from __future__ import annotations

from dataclasses import replace

import pytest

from keystile.loadtest import histogram
from keystile.loadtest.api import Seen
from keystile.loadtest.objectives import parse
from keystile.loadtest.records import AddressSum, CallSum, Round, Window
from keystile.loadtest.scenarios import SCENARIOS
from keystile.loadtest.summing import Told, figures_of, is_exact, kept, record, told_now
from keystile.loadtest.told import Yield
from tests.loadtest.test_plan import PLAN, SECRET

TOLD = Told("2026-11-28T05:00:00Z", "Locust 2", "2 cores")
PLAIN = replace(PLAN, seconds=10, width=1.0, cap=20)


def window(at: float, answered: int = 0, took: float = 0.01, **more: object) -> Window:
    made = Window(at, answered=answered, **more)  # type: ignore[arg-type]  # the fields of a window
    for _ in range(answered):
        histogram.add(made.latency, took)
    return made


def yielded(*windows: Window, lost: int = 0, rounds: tuple[Round, ...] = ()) -> Yield:
    addresses = [AddressSum("127.1.0.1", 5, 3), AddressSum("127.1.0.2", 5, 2)]
    calls = [CallSum("GET", "/a", 10), CallSum("GET", "/never", 0)]
    return Yield(1000.0, list(windows), calls, addresses, list(rounds), lost, (10, 0), [])


def test_shares_are_of_all_requests_that_ended() -> None:
    windows = [window(0, 6, refused={"overloaded": 2, "scope-missing": 1}, wrong={"no-connection": 1}, offered=20)]
    found = figures_of(windows, (), (), PLAIN)
    assert (found.most["failed"], found.most["refused"]) == (0.1, 0.2)
    assert (found.throughput, found.offered) == (0.9, 2.0)
    assert found.most["p99"] == pytest.approx(0.01, rel=0.02)


def test_without_a_request_nothing_is_known() -> None:
    found = figures_of([], (), (), PLAIN)
    assert set(found.most.values()) == {None}
    assert found.cap is None


def test_users_who_call_as_fast_as_answers_come_have_no_rate() -> None:
    assert figures_of([window(0, 5)], (), (), replace(PLAIN, rate=None)).offered is None


EXACT = Round(0, 25, 20, 5, 0, held=True)


@pytest.mark.parametrize(
    ("rounds", "served", "expected"),
    [
        ((EXACT, EXACT), 20, True),
        ((EXACT, EXACT), None, True),
        ((EXACT, replace(EXACT, let_in=21, refused=4)), 20, False),
        ((EXACT, replace(EXACT, let_in=19, refused=6)), 20, False),
        ((EXACT, replace(EXACT, refused=4, other=1)), 20, False),
        ((EXACT,), 21, False),
        ((EXACT, replace(EXACT, held=False)), 20, None),
        ((replace(EXACT, let_in=25, refused=0, held=False),), None, None),
        ((), 20, None),
    ],
)
def test_the_cap_is_kept_when_every_round_was_exact(
    rounds: tuple[Round, ...], served: int | None, expected: bool | None
) -> None:
    plan = replace(PLAIN, rounds=2)
    assert kept([AddressSum("127.1.0.1", served=served)], rounds, plan) is expected


@pytest.mark.parametrize(("served", "expected"), [(20, True), (21, False), (0, None), (None, None)])
def test_without_rounds_the_api_says_whether_it_was_kept(served: int | None, expected: bool | None) -> None:
    assert kept([AddressSum("127.1.0.1", served=served)], (), PLAIN) is expected


def test_fewer_at_once_than_the_cap_are_all_let_in() -> None:
    assert is_exact(Round(0, 10, 10, 0, 0, held=True), 20)
    assert not is_exact(Round(0, 10, 9, 1, 0, held=True), 20)


def test_what_the_api_saw_goes_on_until_it_changes() -> None:
    seen = Seen(
        {"127.1.0.1": {20_010: (20, 20), 20_062: (20, 2)}, "127.1.0.2": {20_024: (1, 0)}, "192.0.2.1": {1: (9, 9)}}
    )
    whole = record(SCENARIOS["steady"], PLAIN, yielded(*map(window, range(5))), seen, (), (), TOLD)
    assert [each.served for each in whole.windows] == [(20, 0), (20, 1), (20, 0), (20, 0), (2, 0)]
    assert [each.served for each in whole.addresses] == [20, 1]


def test_a_record_has_the_verdicts_and_no_secret() -> None:
    objectives = [parse("p99=50ms"), parse("failed=0%"), parse("throughput=1000/s")]
    whole = record(SCENARIOS["steady"], PLAIN, yielded(window(0, 10)), None, objectives, ["A remark."], TOLD)
    assert [each.passed for each in whole.verdicts] == [True, True, False]
    assert not whole.passed
    assert [(key.name, key.hint) for key in whole.keys] == [("all", SECRET[-5:])]
    assert SECRET not in repr(whole)
    assert [each.template for each in whole.calls] == ["/a"]
    assert whole.notes == ("A remark.",)


def test_what_makes_figures_doubtful_is_said() -> None:
    unheld = (replace(EXACT, held=False), EXACT)
    found = record(
        SCENARIOS["at-once"],
        PLAIN,
        yielded(window(0, 1, busy=0.95), window(1), lost=3, rounds=unheld),
        None,
        (),
        (),
        TOLD,
    ).notes
    assert len(found) == 3
    assert "at its limit in 1 of 2 windows" in found[0]
    assert found[1].startswith("3 requests")
    assert found[2].startswith("1 of 2 rounds")


def test_a_run_says_what_it_ran_on() -> None:
    told = told_now("2026-11-28T05:00:00Z")
    assert "Locust" in told.tools
    assert "cores" in told.machine
