"""Changes of keys in the account: how long a deleted key still worked on which host, and changes that were not made.

Law: pure, over the diary.
"""

from __future__ import annotations

from collections import Counter

from tests.cluster.diary import CUT, Change, Diary, What

BACK = 6.0
"""Seconds after a fault in which a change may still wait for it: a lock of the database waits for so long."""


def deleted(diary: Diary) -> dict[str, dict[int, float]]:
    """By phase and host: seconds from the answer of a delete until the last request was sent that it still let in."""
    found: dict[str, dict[int, float]] = {}
    for entry in diary.entries:
        steps = diary.steps.get(entry.key, ())
        if entry.outcome == "200" and steps and steps[-1].state == "401" and steps[-1].made < entry.sent:
            by_host = found.setdefault(entry.phase, {})
            by_host[entry.host] = max(by_host.get(entry.host, 0.0), entry.sent - steps[-1].made)
    return found


def outcomes(diary: Diary) -> Counter[str]:
    """Changes by what became of them."""
    return Counter(f"{each.what} {each.outcome}" for each in diary.changes)


def changes_not_made(diary: Diary) -> list[str]:
    """Changes that failed, and no fault of their time explains it."""
    return [
        f"{each.what} on host {each.host} ({each.phase}): {each.outcome} after {each.ended - each.sent:.2f} s"
        for each in diary.changes
        if not each.outcome.startswith("2") and not _explained(diary, each)
    ]


def _explained(diary: Diary, change: Change) -> bool:
    """Its host was not there; or the database was not there for it, or somebody who was silent had its lock."""
    for spell in diary.spells:
        if not (spell.began <= change.ended and change.sent <= min(spell.ended, 1e18) + BACK):
            continue
        its_host = spell.host in (None, change.host)
        if its_host and spell.what in (What.KILLED, What.DRAINED) and change.outcome in (CUT, "503"):
            return True
        if spell.what in (What.NO_STORE, What.PAUSED, What.KILLED) and change.outcome in ("503", CUT, "no answer"):
            return spell.what is not What.KILLED or change.outcome == "503"
    return False

