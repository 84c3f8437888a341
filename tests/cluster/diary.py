"""What happened to several hosts under traffic: every request, what the API saw of it, changes of keys, and faults.

Law: data; no verdicts (``judging.py``). Moments are seconds of the monotonic clock of this one process, in which the
callers and the API both are.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from math import inf

CUT = "cut"
"""An outcome: the connection ended before the answer was whole."""
NO_CONNECTION = "no connection"
NO_ANSWER = "no answer"
WRONG = "wrong answer"


class What(Enum):
    """What was done to a host, or to all of them (an engine that is gone)."""

    KILLED = "killed, and started again"
    PAUSED = "paused"
    NO_SLOTS = "cut off from the server that lends slots"
    NO_STORE = "cut off from the database"
    DRAINED = "told to stop"
    LIMITED = "another limit"


@dataclass(slots=True)
class Spell:
    """Something lasted on ``host`` (None: on all) from ``began`` to ``ended``; ``alone``: hosts count alone then.

    ``settled`` and ``lifted``: from when on, and until when, it is so for sure.
    """

    what: What
    host: int | None
    began: float
    ended: float = inf
    alone: bool = False
    settled: float = inf
    lifted: float = inf


@dataclass(slots=True)
class Entry:
    """One request. ``key``: one that is changed, empty: the lasting one; ``crowd``: how many its address has."""

    number: int
    phase: str
    host: int
    address: str
    key: str
    crowd: int
    sent: float
    ended: float = inf
    outcome: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the API saw of a request: when it came, and when its answer was written or its connection was lost."""

    number: int
    address: str
    came: float
    left: float


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a key: asked for on ``host``, answered at ``made`` (inf: not known). ``state``: the status since."""

    host: int
    asked: float
    made: float
    state: str


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changes a key, in the account like any request."""

    phase: str
    what: str
    host: int
    sent: float
    ended: float
    outcome: str


@dataclass(slots=True)
class Diary:
    """All of it. ``steps``: of each key, in order, from its making on; ``lease``: seconds, of every host.

    ``lower``: hosts that have a lower cap, with it.
    """

    lease: float = 1.0
    cap: int = 20
    hosts: int = 4
    lower: dict[int, int] = field(default_factory=dict)
    phase: str = "calm"
    entries: list[Entry] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    steps: defaultdict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    changes: list[Change] = field(default_factory=list)
    spells: list[Spell] = field(default_factory=list)

    def begin_phase(self, name: str) -> None:
        """What is sent from now on is sent while this is done; told on standard error."""
        self.phase = name
        print(f"{time.monotonic():.1f} {name}", file=sys.stderr, flush=True)

    def begin(self, host: int, address: str, crowd: int, now: float, key: str = "") -> Entry:
        """A request is about to be sent."""
        entry = Entry(len(self.entries) + 1, self.phase, host, address, key, crowd, now)
        self.entries.append(entry)
        return entry

    def spells_of(self, host: int, *whats: What) -> list[Spell]:
        """Those of a host, or of all."""
        return [each for each in self.spells if each.what in whats and each.host in (None, host)]
