from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keystile.limits.budget import ALWAYS, RECENT, Budget


def test_a_share_of_the_recent_requests_may_be_sent_again() -> None:
    budget = Budget(0.2)
    assert sum(budget.spend(1.0, 100) for _ in range(100)) == 20


def test_a_few_always_may() -> None:
    budget = Budget(0.2)
    assert sum(budget.spend(1.0, 1) for _ in range(10)) == ALWAYS
    assert sum(budget.spend(1.0 + RECENT, 1) for _ in range(10)) == ALWAYS


def test_a_share_of_nothing_is_none() -> None:
    assert not Budget(0.0).spend(1.0, 1000)


def test_requests_of_long_ago_pay_for_nothing() -> None:
    budget = Budget(0.2)
    for second in range(100):
        budget.look(float(second), 1000)
    assert sum(budget.spend(100.0, 1000) for _ in range(100)) == ALWAYS


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50), st.booleans()), max_size=100))
def test_never_more_than_the_share_and_the_few_within_ten_seconds(steps: list[tuple[float, int, bool]]) -> None:
    budget, now, asked = Budget(0.2), 0.0, 0
    spent: list[float] = []
    history: list[tuple[float, int]] = [(0.0, 0)]
    for seconds, requests, again in steps:
        now, asked = now + seconds, asked + requests
        history.append((now, asked))
        budget.look(now, asked)
        if again and budget.spend(now, asked):
            spent.append(now)
        # Seconds are counted as a whole, so up to one more of them may count.
        before = max((count for moment, count in history if moment <= now - RECENT - 3.0), default=0)
        assert len([one for one in spent if one > now - RECENT]) <= max(ALWAYS, 0.2 * (asked - before)) + 1
