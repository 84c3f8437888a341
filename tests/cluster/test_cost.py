"""How the cost of slots over hosts is reckoned."""

from __future__ import annotations

import random

from tests.cluster.cost import Round, interval


def test_what_is_more_is_that_of_the_same_second() -> None:
    assert Round([90.0, 120.0], [95.0, 123.0], 1, 0, 0).more() == [5.0, 3.0]


def test_the_interval_is_as_wide_as_rounds_differ_however_many_windows_they_have() -> None:
    """A process that is slower than another one is so in all of its windows."""
    rounds = [[float(at)] * 100 for at in range(8)]
    low, high = interval(rounds, random.Random(1), 200)
    assert low <= 2 <= 5 <= high
    assert interval([[5.0] * 100] * 8, random.Random(1), 200) == (5.0, 5.0)


def test_the_interval_holds_what_is_true_in_about_95_of_100() -> None:
    dice = random.Random(2)
    held = 0
    for _ in range(40):
        low, high = interval([[dice.gauss(6, 4) for _ in range(12)] for _ in range(8)], dice, 200)
        held += low <= 6 <= high
    assert 35 <= held <= 40


def test_added_latency_is_told_by_its_hundredths() -> None:
    times = [number / 1000 for number in range(1, 101)]
    some = Round([], [], 100, 0, 0, (times, [each + 0.002 for each in times]))
    assert (round(some.later(50), 6), round(some.later(99), 6)) == (2, 2)
