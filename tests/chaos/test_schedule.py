from __future__ import annotations

from tests.chaos.schedule import schedule
from tests.chaos.story import EVENTS


def test_a_seed_makes_one_schedule_and_another_seed_another() -> None:
    assert schedule(7, 60) == schedule(7, 60)
    assert schedule(7, 60) != schedule(8, 60)


def test_each_kind_comes_where_there_is_time() -> None:
    planned = schedule(3, 120)
    assert {each.what for each in planned} == set(EVENTS)
    assert all(1 <= each.at < 120 for each in planned)
    assert [each.at for each in planned] == sorted(each.at for each in planned)
    assert all(EVENTS[each.what].lasts[0] <= each.lasts <= EVENTS[each.what].lasts[1] for each in planned)


def test_only_what_is_asked_for_comes() -> None:
    assert {each.what for each in schedule(1, 60, "doorbell,upgrade")} == {
        name for name in EVENTS if "doorbell" in name or name == "upgrade"
    }


def test_a_planned_event_is_one_line() -> None:
    assert str(schedule(1, 10, "locked")[0]).startswith("   1.00 s  store: locked, for ")
