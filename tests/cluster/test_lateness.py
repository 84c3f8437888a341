from __future__ import annotations

from tests.cluster.diary import CUT, Change, Diary, Spell, Step, What
from tests.cluster.lateness import changes_not_made, deleted, outcomes


def test_it_tells_how_long_a_deleted_key_worked_by_host() -> None:
    diary = Diary(phase="cut")
    diary.steps["k"] += [Step(0, 1.0, 1.1, "200"), Step(0, 10.0, 10.1, "401")]
    for at, host, outcome in ((9.0, 1, "200"), (10.2, 1, "200"), (10.6, 1, "200"), (12.0, 1, "401"), (10.05, 2, "200")):
        entry = diary.begin(host, "10.0.0.1", 1, at, "k")
        entry.outcome = outcome
    assert {host: round(seconds, 3) for host, seconds in deleted(diary)["cut"].items()} == {1: 0.5}


def test_a_change_that_failed_needs_a_fault_of_its_time() -> None:
    diary = Diary(spells=[Spell(What.NO_STORE, 3, 10.0, 16.0), Spell(What.KILLED, 0, 40.0, 45.0)])
    made = [("204", 1.0, 0), ("503", 12.0, 3), (CUT, 41.0, 0)]
    not_made = [("503", 1.0, 0), ("409", 12.0, 3), (CUT, 41.0, 1), ("503", 30.0, 3)]
    diary.changes = [Change("calm", "delete", host, at, at + 0.1, outcome) for outcome, at, host in made + not_made]
    assert len(changes_not_made(diary)) == len(not_made)
    assert outcomes(diary)["delete 503"] == 3
