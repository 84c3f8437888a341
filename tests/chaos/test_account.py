from __future__ import annotations

import json

import pytest

from tests.chaos.account import Result, as_json, events, failed, kinds, rules, told, whole
from tests.chaos.judge import Account, Fault
from tests.chaos.rules import RULES, Column
from tests.chaos.story import Story

RIGHT, INSIDE = RULES[0], RULES[1]
FULL = next(rule for rule in RULES if rule.outcomes == ("429",))


def account(*counted: tuple[str, str, int]) -> Account:
    """``counted``: kind, outcome's rule by its first word, number."""
    made = Account()
    for kind, first, number in counted:
        rule = next(rule for rule in RULES if rule.name.startswith(first))
        made.sent += number
        made.by_rule[kind, rule] += number
        made.by_phase["without kills", rule] += number
    return made


def test_the_columns_sum_up_to_what_was_sent() -> None:
    made = account(("a", "as it", 5), ("b", "as it", 2), ("a", "cut with", 1), ("a", "429", 3))
    assert [made.column(column) for column in Column] == [7, 1, 3]
    assert made.is_whole
    columns = dict(zip([column.value for column in Column], [5, 1, 3], strict=True))
    assert kinds(made)[0] == {"kind": "a", "explained": 9, **columns}
    assert [row["requests"] for row in rules(made)] == [7, 1, 3]
    assert whole(made)["sum is right"] is True


def test_a_request_in_no_column_makes_the_sum_wrong_and_the_run_a_failure() -> None:
    made = account(("a", "as it", 5))
    assert Result(1, made, Story()).code == 0
    made.sent += 1
    assert not made.is_whole
    assert Result(1, made, Story()).code == 1


def test_what_remains_makes_the_run_a_failure_and_is_told_with_its_time_line() -> None:
    made = account(("a", "as it", 5))
    made.remainder = [Fault(f"this {number}", 10.0, 10.1) for number in range(32)]
    story = Story()
    story.begin("reload: limits", 9.0).ended = 9.5
    result = Result(1, made, story)
    assert result.code == 1
    assert told(result)[:2] == ["REMAINDER: this 0", "    -1.000 to -0.500: reload: limits"]
    assert told(result)[-1] == "… and 2 more"
    assert len(json.loads(json.dumps(as_json(result)))["remainder"]) == 32


@pytest.mark.parametrize(("first", "number"), [("as it", 0), ("429", 0), ("cut with", 4), ("502", 4)])
def test_without_kills_only_the_cap_may_refuse(first: str, number: int) -> None:
    assert failed(account(("a", first, 4)), "without kills") == number
    assert failed(account(("a", first, 4)), "chaos") == 0


def test_a_request_that_no_rule_explains_counts_as_failed_in_its_phase() -> None:
    made = Account(remainder=[Fault("request 7 (GET, kept connection, without kills) of …: cut")])
    assert (failed(made, "without kills"), failed(made, "chaos")) == (1, 0)


def test_events_are_counted_done_and_skipped() -> None:
    story = Story()
    story.begin("upgrade", 1.0).skipped = "there is none"
    story.begin("store: locked", 2.0)
    assert events(story) == [
        {"event": "upgrade", "done": 0, "skipped": 1},
        {"event": "store: locked", "done": 1, "skipped": 0},
    ]
