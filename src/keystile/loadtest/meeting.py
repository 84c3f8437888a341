"""Where all users of a run wait for one another, call at once, and count what came of it.

Law: counting, and one barrier of the standard library (which Locust's process has from gevent). A round says something
about the cap only where everybody had asked, and every refusal had come, before the first answer ended.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from keystile.loadtest.credentials import ANSWERED
from keystile.loadtest.records import Round
from keystile.loadtest.scenarios import TOO_MANY

_PAUSE: Final = 0.5
"""Seconds between two rounds."""


class Over(Exception):
    """There is no further round."""


class Meeting:
    """``users`` who meet ``rounds`` times; ``begun``: the run's beginning, by the monotonic clock."""

    def __init__(self, users: int, rounds: int, begun: float, pause: float = _PAUSE) -> None:
        self.rounds: list[Round] = []
        self._users, self._wanted, self._begun, self._pause = users, rounds, begun, pause
        self._barrier = threading.Barrier(users, action=self._begin)
        self._lock = threading.Lock()
        self._rounds_begun = 0
        self._ends: list[tuple[str, float]] = []
        self._last_asked = begun

    def wait(self) -> None:
        """Until everybody is here. Raises Over after the last round, and where somebody has left."""
        if self._rounds_begun >= self._wanted:
            raise Over
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError:
            raise Over from None

    def asked(self, now: float) -> None:
        """One sends its request."""
        self._last_asked = max(self._last_asked, now)

    def ended(self, outcome: str, now: float) -> None:
        """One has its answer; the last one writes the round down."""
        with self._lock:
            self._ends.append((outcome, now))
            if len(self._ends) == self._users:
                self.rounds.append(self._round())
                self._ends = []

    def leave(self) -> None:
        """Let nobody wait for one who has gone."""
        self._barrier.abort()

    def _begin(self) -> None:
        """When all are here, and nobody has gone on."""
        if self._rounds_begun:
            time.sleep(self._pause)
        self._rounds_begun += 1

    def _round(self) -> Round:
        let_in = [end for outcome, end in self._ends if outcome == ANSWERED]
        refused = [end for outcome, end in self._ends if outcome == TOO_MANY]
        return Round(
            at=max(0.0, self._last_asked - self._begun),
            sent=self._users,
            let_in=len(let_in),
            refused=len(refused),
            other=self._users - len(let_in) - len(refused),
            held=bool(let_in) and max([self._last_asked, *refused]) < min(let_in),
        )
