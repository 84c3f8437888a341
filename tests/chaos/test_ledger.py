from __future__ import annotations

from tests.chaos.kinds import KINDS
from tests.chaos.ledger import Ledger


def test_entries_are_numbered_from_one_and_found_by_their_numbers() -> None:
    ledger = Ledger()
    entries = [ledger.begin("WebSocket", float(at), "127.0.1.1") for at in range(3)]
    assert [ledger.of(number) for number in range(5)] == [None, *entries, None]
    assert entries[0].kind is KINDS["WebSocket"]


def test_of_two_outcomes_the_first_counts_and_the_second_is_told() -> None:
    ledger = Ledger()
    entry = ledger.begin("WebSocket", 1.0)
    ledger.end(entry, 2.0, "101")
    ledger.end(entry, 3.0, "cut")
    assert (entry.outcome, entry.ended) == ("101", 2.0)
    assert ledger.twice == ["1 (WebSocket): 101, and then cut"]
