"""The account's rules: each explains what it is for, and nothing else."""

from __future__ import annotations

from math import inf

import pytest

from tests.cluster.diary import CUT, NO_ANSWER, NO_CONNECTION, Diary, Seen, Spell, Step, What
from tests.cluster.judging import ANSWERED, INSIDE, REFUSED, judge

ADDRESS = "10.0.0.1"


def sent(
    diary: Diary, outcome: str, at: float = 10.0, host: int = 0, problem: str = "", key: str = "", lasts: float = 0.1
) -> None:
    """A request, seen by the API as it should be."""
    entry = diary.begin(host, ADDRESS, 8, at, key)
    entry.ended, entry.outcome, entry.problem = at + lasts, outcome, problem
    if outcome == "200":
        diary.seen.append(Seen(entry.number, ADDRESS, at, at + lasts))


def column(diary: Diary, trust: dict[int, float] | None = None) -> str:
    """Where the last request stands; empty: it remains."""
    before = Diary(entries=diary.entries[:-1], seen=diary.seen, steps=diary.steps, spells=diary.spells)
    without, account = judge(before, trust), judge(diary, trust)
    found = account.columns - without.columns
    assert bool(found) != (len(account.remainder) > len(without.remainder))
    return next(iter(found), "")


def test_what_was_answered_is_answered_and_the_sum_is_right() -> None:
    diary = Diary()
    sent(diary, "200")
    account = judge(diary)
    assert account.is_whole
    assert (account.sent, account.columns[ANSWERED], account.highest) == (1, 1, 1)


@pytest.mark.parametrize("outcome", ["500", "502", "503", "401", "403", "429", CUT, NO_CONNECTION, NO_ANSWER, "wrong"])
def test_in_calm_nothing_else_is_explained(outcome: str) -> None:
    diary = Diary()
    sent(diary, outcome, problem="too-many-at-once" if outcome == "429" else "")
    assert not judge(diary).is_whole


def test_a_refusal_needs_twenty_in_hand() -> None:
    for others, where in ((19, ""), (20, REFUSED)):
        diary = Diary()
        for _ in range(others):
            sent(diary, "200", lasts=1.0)
        sent(diary, "429", 10.5, problem="too-many-at-once")
        assert column(diary) == where
    sent(diary, "429", 11.05, problem="too-many-at-once")
    assert column(diary) == REFUSED, "an answer may be a tenth of a second old"
    sent(diary, "429", 11.2, problem="too-many-at-once")
    assert column(diary) == ""


def test_units_of_a_dead_host_count_for_a_lease_time() -> None:
    diary = Diary(spells=[Spell(What.KILLED, 1, 10.0, 20.0)])
    sent(diary, "429", 11.5, problem="too-many-at-once")
    assert column(diary) == REFUSED
    sent(diary, "429", 13.0, problem="too-many-at-once")
    assert column(diary) == ""


def test_what_fails_in_a_killed_host_fails_there_only() -> None:
    diary = Diary(spells=[Spell(What.KILLED, 1, 10.0, 20.0)])
    for at, host, where in ((10.0, 1, INSIDE), (15.0, 1, INSIDE), (15.0, 0, ""), (22.0, 1, "")):
        sent(diary, CUT, at, host)
        assert column(diary) == where
        sent(diary, NO_CONNECTION, at, host)
        assert column(diary) == where


def test_no_count_is_a_reason_where_nobody_lends_and_no_other_refusal_is() -> None:
    diary = Diary(spells=[Spell(What.NO_SLOTS, 2, 10.0, 15.0)])
    for host, problem, where in ((2, "count-unavailable", REFUSED), (2, "no-server", ""), (1, "count-unavailable", "")):
        sent(diary, "503", 12.0, host, problem)
        assert column(diary) == where


def test_keys_are_not_trusted_after_their_time_only() -> None:
    diary = Diary(spells=[Spell(What.NO_STORE, None, 10.0, 20.0)])
    for at, host, where in ((12.0, 3, ""), (14.5, 3, REFUSED), (14.5, 1, ""), (22.0, 3, "")):
        sent(diary, "503", at, host, "keys-unavailable")
        assert column(diary, {3: 4.0}) == where


def test_a_deleted_key_works_elsewhere_for_as_long_as_a_host_may_not_know() -> None:
    diary = Diary(spells=[Spell(What.NO_STORE, 3, 9.0, 15.0)])
    diary.steps["k"] += [Step(0, 1.0, 1.1, "200"), Step(0, 10.0, 10.1, "401")]
    for at, host, where in (
        (10.05, 0, ANSWERED),  # on its way
        (10.2, 0, ""),  # the host that was told, at the next request
        (10.2, 1, ANSWERED),
        (12.0, 1, ""),
        (15.5, 3, ANSWERED),  # cut off
        (17.0, 3, ""),
    ):
        sent(diary, "200", at, host, key="k")
        assert column(diary) == where, (at, host)
    for at, where in ((5.0, ""), (10.05, ANSWERED), (10.2, ANSWERED)):
        sent(diary, "401", at, 0, key="k")
        assert column(diary) == where


def test_a_change_without_an_answer_may_have_happened_or_not() -> None:
    diary = Diary()
    diary.steps["k"] += [Step(0, 1.0, 1.1, "200"), Step(0, 10.0, inf, "401")]
    for outcome, at, where in (("401", 5.0, ""), ("200", 50.0, ANSWERED), ("401", 50.0, ANSWERED)):
        sent(diary, outcome, at, key="k")
        assert column(diary) == where


def test_a_new_key_is_unknown_elsewhere_for_a_moment() -> None:
    diary = Diary()
    diary.steps["k"] += [Step(0, 1.0, 1.1, "200")]
    for at, where in ((1.2, ANSWERED), (4.0, "")):
        sent(diary, "401", at, 1, key="k")
        assert column(diary) == where


def test_a_twenty_first_is_told_unless_hosts_count_alone() -> None:
    diary = Diary()
    for at in range(21):
        sent(diary, "200", host=at % 2)
    assert any("21 of" in each for each in judge(diary).remainder)
    diary.spells.append(Spell(What.NO_SLOTS, 1, 9.0, 11.0, alone=True))
    assert judge(diary).is_whole
    for _ in range(20):
        sent(diary, "200")
    assert any("41 of" in each for each in judge(diary).remainder)


def test_hosts_of_a_lower_limit_are_held_to_it_together() -> None:
    diary = Diary(lower={2: 10, 3: 10}, spells=[Spell(What.LIMITED, at, 0.0, 90.0, settled=1.0) for at in (2, 3)])
    for at in range(10):
        sent(diary, "200", host=2 + at % 2)
    sent(diary, "429", host=2, problem="too-many-at-once")
    sent(diary, "429", host=0, problem="too-many-at-once")
    assert [REFUSED in each for each in (judge(diary).columns,)] == [True]
    assert len(judge(diary).remainder) == 1
    sent(diary, "200", host=3)
    assert any("hosts of a limit of 10 had 11" in each for each in judge(diary).remainder)


def test_the_api_sees_each_request_once_and_none_that_was_refused() -> None:
    diary = Diary()
    sent(diary, "200")
    diary.seen.append(diary.seen[0])
    assert any("2 times" in each for each in judge(diary).remainder)
    diary.seen.clear()
    assert any("0 times" in each for each in judge(diary).remainder)
