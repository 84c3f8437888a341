"""Connections, counted in all and by address."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from keystile.limits.crowd import EXEMPT, Crowd


def test_one_address_has_as_many_as_it_may_and_others_are_none_the_worse() -> None:
    crowd = Crowd(100, 3)
    assert [crowd.enter(b"a") for _ in range(5)] == [True, True, True, False, False]
    assert crowd.enter(b"b")
    crowd.leave(b"a")
    assert crowd.enter(b"a")
    assert not crowd.enter(b"a")
    assert (crowd.present, crowd.of(b"a"), crowd.of(b"b"), crowd.of(b"c")) == (4, 3, 1, 0)


def test_in_all_there_are_as_many_as_there_may_be() -> None:
    crowd = Crowd(3, 2)
    assert [crowd.enter(name) for name in (b"a", b"b", EXEMPT, b"c", EXEMPT)] == [True, True, True, False, False]
    crowd.leave(EXEMPT)
    assert crowd.enter(b"c")


def test_who_is_exempt_is_counted_in_all_only() -> None:
    crowd = Crowd(50, 1)
    assert all(crowd.enter(EXEMPT) for _ in range(50))
    assert not crowd.enter(b"a")


def test_who_was_not_let_in_is_not_counted() -> None:
    crowd = Crowd(1, 1)
    crowd.enter(b"a")
    crowd.enter(b"a")
    crowd.enter(b"b")
    crowd.leave(b"a")
    assert (crowd.present, len(crowd)) == (0, 0)


@given(st.lists(st.sampled_from([b"a", b"b", b"c", EXEMPT])), st.integers(1, 6), st.integers(1, 4))
def test_no_bound_is_ever_passed_and_nothing_is_left_when_all_have_gone(
    names: list[bytes], most: int, most_each: int
) -> None:
    crowd = Crowd(most, most_each)
    inside = [name for name in names if crowd.enter(name)]
    counts = Counter(inside)
    assert crowd.present == len(inside) <= most
    assert all(count <= most_each for name, count in counts.items() if name)
    assert all(crowd.of(name) == counts[name] for name in (b"a", b"b", b"c"))
    for name in inside:
        crowd.leave(name)
    assert (crowd.present, len(crowd)) == (0, 0)


def test_its_memory_does_not_grow_with_addresses_that_have_gone() -> None:
    crowd = Crowd(10, 10)
    for number in range(10_000):
        name = b"%d" % number
        assert crowd.enter(name)
        crowd.leave(name)
    assert len(crowd) == 0
