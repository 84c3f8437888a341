from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keystile.loadtest.calls import Call
from keystile.loadtest.gathering import Gathering

CALLS = [Call("GET", "/a", "/a"), Call("POST", "/b", "/b")]


def gathering(seconds: float = 10, sources: int = 2) -> Gathering:
    return Gathering(100.0, seconds, 1.0, CALLS, [f"127.1.0.{at + 1}" for at in range(sources)])


def test_answers_refusals_and_faults_are_counted_where_they_ended() -> None:
    made = gathering()
    for outcome, right, moment in (
        ("answered", True, 100.5),
        ("scope-missing", True, 101.5),
        ("answered", False, 101.6),
        ("no-connection", False, 101.7),
    ):
        made.send(0, 100.1)
        made.end(0, 0, outcome, right, 0.2, moment)

    first, second = made.windows
    assert (first.answered, first.refused, first.wrong) == (1, {}, {})
    assert (second.answered, second.refused) == (0, {"scope-missing": 1})
    assert second.wrong == {"answered": 1, "no-connection": 1}
    assert (made.calls[0].requests, made.calls[0].wrong, made.calls[1].requests) == (4, 2, 0)
    assert sum(second.latency.values()) == 3


def test_what_is_not_timed_has_no_time() -> None:
    made = gathering()
    made.send(0, 100)
    made.end(0, 1, "answered", True, None, 100.5)
    assert (made.windows[0].latency, made.calls[1].latency) == ({}, {})


def test_the_most_at_once_is_told_by_address_and_goes_on_into_the_next_window() -> None:
    made = gathering()
    for source in (0, 0, 0, 1):
        made.send(source, 100.1)
    made.look(101.5, 4, 0, 0)
    made.end(0, 0, "answered", True, 0.1, 102.5)
    made.end(0, 0, "answered", True, 0.1, 103.5)
    made.finish()

    assert [window.asked for window in made.windows] == [(3, 1), (3, 1), (3, 1), (2, 1)]
    assert [each.asked for each in made.addresses] == [3, 1]


def test_what_ends_after_the_time_counts_in_the_last_window() -> None:
    made = gathering(seconds=2.5)
    made.send(0, 102)
    made.end(0, 0, "answered", True, 5.0, 107)
    assert [window.answered for window in made.windows] == [0, 0, 1]


def test_what_was_cut_off_is_neither_answered_nor_failed() -> None:
    made = gathering()
    made.send(0, 100)
    made.cut(0)
    assert (made.lost, made.ended, made.open) == (1, 0, 0)


def test_a_look_adds_what_was_to_be_made_and_keeps_the_highest_of_the_rest() -> None:
    made = gathering()
    made.look(100.2, 5, 10, 0.5)
    made.look(100.4, 3, 10, 0.2)
    window = made.windows[0]
    assert (window.users, window.offered, window.busy) == (5, 20, 0.5)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 20), st.booleans()), max_size=40))
def test_every_request_ends_once(requests: list[tuple[int, float, bool]]) -> None:
    made = gathering()
    for source, moment, right in requests:
        made.send(source, 100 + moment)
        made.end(source, 0, "answered", right, moment, 100 + moment)
    made.finish()

    assert sum(window.ended for window in made.windows) == made.ended == len(requests)
    assert sum(each.requests for each in made.addresses) == len(requests)
    assert (made.open, len(made.windows)) == (0, len(made.windows[:10]))
