from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys import secret as secrets
from keystile.loadtest import plan as plans
from keystile.loadtest.calls import Call, key_only
from keystile.loadtest.credentials import made
from keystile.loadtest.plan import Plan, Target
from keystile.loadtest.shape import SPIKE

SECRET = secrets.generate()
TARGET = Target("127.0.0.1", 8080, "localhost")
PLAN = Plan(
    TARGET,
    "X-Api-Key",
    (Call("GET", "/a/{x}", "/a/{n}", 12, every=("A",)), key_only("/up", "POST", "drip")),
    (made("all", SECRET, ["A"]),),
    SPIKE,
    users=20,
    seconds=5,
    rate=100,
    cap=20,
    width=0.25,
    sources=("127.1.0.1", "127.1.0.2"),
    may=("overloaded",),
    slow_share=0.25,
)


def test_a_plan_comes_back_as_it_was_in_one_line() -> None:
    line = plans.write(PLAN)
    assert line.count(b"\n") == 1
    assert plans.read(line) == PLAN


def test_no_secret_is_in_a_plans_text() -> None:
    assert SECRET not in repr(PLAN)


def test_what_is_no_plan_is_an_error() -> None:
    with pytest.raises(ValueError, match="target"):
        plans.read(b"{}")


@given(st.integers(1, 200), st.integers(0, 50), st.sampled_from([0.0, 0.25, 0.5]))
def test_users_share_addresses_evenly_and_no_quick_one_shares_with_a_slow_one(
    users: int, count: int, share: float
) -> None:
    plan = replace(PLAN, users=users, sources=tuple(map(str, range(count))), slow_share=share)
    slow = {plan.source_of(number) for number in range(users) if plan.is_slow(number)}
    quick = [plan.source_of(number) for number in range(users) if not plan.is_slow(number)]
    assert all(0 <= each < max(1, count) for each in (*slow, *quick))
    assert count < 2 or slow.isdisjoint(quick)
    crowds = Counter(quick)
    assert not crowds or max(crowds.values()) - min(crowds.values()) <= 1


def test_quick_callers_make_all_of_the_rate() -> None:
    assert (PLAN.slow_users, PLAN.interval) == (5, 0.15)


@pytest.mark.parametrize(
    ("target", "authority", "url"),
    [
        (TARGET, "localhost:8080", "http://localhost:8080"),
        (Target("::1", 80, "::1"), "[::1]", "http://[::1]"),
        (Target("192.0.2.1", 443, "api.example.com", tls=True), "api.example.com", "https://api.example.com"),
        (Target("192.0.2.1", 80, "api.example.com", tls=True), "api.example.com:80", "https://api.example.com:80"),
    ],
)
def test_a_target_is_written_as_in_a_host_field(target: Target, authority: str, url: str) -> None:
    assert (target.authority, target.url) == (authority, url)
