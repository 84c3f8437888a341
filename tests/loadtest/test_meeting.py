from __future__ import annotations

import threading
import time

import pytest

from keystile.loadtest.meeting import Meeting, Over


def play(meeting: Meeting, ends: list[tuple[str, float]], last_asked: float = 100.0) -> None:
    meeting.asked(last_asked)
    for outcome, moment in ends:
        meeting.ended(outcome, moment)


def test_a_round_counts_who_was_let_in_and_who_was_not() -> None:
    meeting = Meeting(4, 1, 90.0)
    play(meeting, [("too-many-at-once", 100.1), ("no-connection", 100.2), ("answered", 101.0), ("answered", 101.1)])
    (found,) = meeting.rounds
    assert (found.sent, found.let_in, found.refused, found.other, found.held) == (4, 2, 1, 1, True)
    assert found.at == 10.0


@pytest.mark.parametrize(
    ("ends", "last_asked"),
    [
        ([("answered", 100.5), ("too-many-at-once", 100.6)], 100.0),
        ([("answered", 100.5), ("answered", 101.0)], 100.7),
        ([("too-many-at-once", 100.5), ("too-many-at-once", 100.5)], 100.0),
    ],
)
def test_a_round_that_was_not_held_open_says_nothing(ends: list[tuple[str, float]], last_asked: float) -> None:
    meeting = Meeting(2, 1, 90.0)
    play(meeting, ends, last_asked)
    assert [each.held for each in meeting.rounds] == [False]


def test_everybody_begins_together_and_leaves_after_the_last_round() -> None:
    meeting = Meeting(5, 3, time.monotonic(), pause=0)
    begun: list[int] = []
    over: list[bool] = []

    def user() -> None:
        try:
            while True:
                meeting.wait()
                begun.append(len(meeting.rounds))
                meeting.asked(time.monotonic())
                meeting.ended("answered", time.monotonic())
        except Over:
            over.append(True)

    threads = [threading.Thread(target=user, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (len(meeting.rounds), len(over)) == (3, 5)
    assert len(begun) == 15
    assert [each.let_in for each in meeting.rounds] == [5, 5, 5]


def test_nobody_waits_for_one_who_has_left() -> None:
    meeting = Meeting(2, 1, 0.0)
    over = threading.Event()

    def user() -> None:
        with pytest.raises(Over):
            meeting.wait()
        over.set()

    threading.Thread(target=user, daemon=True).start()
    meeting.leave()
    assert over.wait(30)
