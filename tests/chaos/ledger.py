"""Every request that was sent: one entry, from before its first byte to its outcome.

Law: bookkeeping. An entry is begun once and ended once; how an outcome is judged is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from tests.chaos.kinds import KINDS, Kind


@dataclass(slots=True)
class Entry:
    """``client``: address and port of the connection; ``relay``: the digits of the relay that had it, where known.

    ``problem``: the type of a refusal; ``freed``: when its slot was surely back, as far as the caller can tell.
    """

    number: int
    kind: Kind
    sent: float
    phase: str
    client: tuple[str, int] = ("", 0)
    ended: float = inf
    outcome: str = ""
    problem: str = ""
    relay: bytes = b""
    note: str = ""


@dataclass(slots=True)
class Ledger:
    """All entries, by number from 1 on. ``twice``: entries that somebody ended again."""

    phase: str = "chaos"
    entries: list[Entry] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    def begin(self, kind: str, now: float, address: str = "") -> Entry:
        """A request is about to be sent."""
        entry = Entry(len(self.entries) + 1, KINDS[kind], now, self.phase, (address, 0))
        self.entries.append(entry)
        return entry

    def end(self, entry: Entry, now: float, outcome: str) -> None:
        """What came of it; of two outcomes the first counts, and the second is a fault."""
        if entry.outcome:
            self.twice.append(f"{entry.number} ({entry.kind.name}): {entry.outcome}, and then {outcome}")
            return
        entry.ended = now
        entry.outcome = outcome

    def of(self, number: int) -> Entry | None:
        """The entry of a number."""
        return self.entries[number - 1] if 0 < number <= len(self.entries) else None
