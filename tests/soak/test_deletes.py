from pathlib import Path

from tests.soak.deletes import measure
from tests.soak.lanes import Watch


async def test_what_was_changed_counts_for_the_next_call_on_every_relay(tmp_path: Path) -> None:
    found = await measure(60, 5, 1, 4, 3, tmp_path)
    assert not any(each.wrong for each in found)
    assert [each.done for each in found] == [60, 1, 5, 5, 5, 5, 5, 5]
    assert all(each.after >= 4 * each.done for each in found)


def test_a_call_that_begins_after_the_delete_and_is_admitted_would_be_noticed() -> None:
    watch = Watch(b"key", must=401)
    watch.judge(b"relay", 401, must=401)
    watch.judge(b"relay", 200, must=401)
    assert watch.wrong == {"200 instead of 401": 1}


def test_a_call_that_was_under_way_may_be_answered_either_way() -> None:
    watch = Watch(b"key", must=401)
    for status in (200, 401):
        watch.judge(b"relay", status, must=200)
        watch.judge(b"relay", status, must=None)
    assert not watch.wrong
