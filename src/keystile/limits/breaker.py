"""When one server is left out by what a relay sees of it itself, and how it comes back.

Law: a table of states and a clock that is handed in; servers, requests and other servers are not known here.

    CLOSED   it is used
    OPEN     it is left out, until its time is over
    TRIED    one request is trying it: well, and it is CLOSED; not, and it is OPEN for twice as long

Good answers are not told, so that they cost nothing: errors are told, and how many requests there were is looked up
when one is, and once a second. A trial that never ends (a client leaves, an answer takes minutes) is over after
``open_for``, and another may begin: nothing has to give it back.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final

from keystile.config.model import Breaker as Rules

#: So many times longer than ``open_for`` a server is left out at most.
LONGEST: Final = 12
#: Parts of ``within`` that are told apart, at most; and none shorter than a second.
PARTS: Final = 60


class State(Enum):
    """See the module."""

    CLOSED = auto()
    OPEN = auto()
    TRIED = auto()


class Breaker:
    """Of one server on one relay. Moments are seconds of one clock; ``asked`` counts all requests so far."""

    def __init__(self, rules: Rules, asked: int = 0) -> None:
        self.rules = rules
        self.state = State.CLOSED
        self.opened = 0
        self._failures = 0
        self._errors = 0
        self._times = 1
        self._until = 0.0
        #: Moments with what had been counted by then, the oldest from the beginning of ``within``.
        self._window: deque[tuple[float, int, int]] = deque([(float("-inf"), asked, 0)])

    # -- what is seen while it is closed ----------------------------------------------------------

    def connect_failed(self, now: float) -> bool:
        """A connection could not be made; whether that opens it."""
        self._failures += 1
        if self.state is not State.CLOSED or self._failures < self.rules.connect_failures:
            return False
        self._open(now)
        return True

    def connected(self) -> None:
        """A connection has been made."""
        self._failures = 0

    def error(self) -> None:
        """A 5xx or a broken answer. Whether that is too many is asked with ``too_many``."""
        self._errors += 1

    def too_many(self, now: float, asked: int) -> bool:
        """Whether the share of errors is too large, of enough requests."""
        if self.state is not State.CLOSED:
            return False
        self.look(now, asked)
        _, asked_before, errors_before = self._window[0]
        requests, errors = asked - asked_before, self._errors - errors_before
        return requests >= self.rules.of_at_least and errors >= self.rules.errors * requests

    def look(self, now: float, asked: int) -> None:
        """Once a second: what is older than ``within`` counts no more."""
        window = self._window
        if now - window[-1][0] >= max(1.0, self.rules.within / PARTS):
            window.append((now, asked, self._errors))
        while len(window) > 1 and window[1][0] <= now - self.rules.within:
            window.popleft()

    def open(self, now: float) -> None:
        """Leave the server out: its errors are too many."""
        self._open(now)

    # -- while it is open ---------------------------------------------------------------------------

    def wants_trial(self, now: float) -> bool:
        """Whether one request should try the server."""
        return self.state is not State.CLOSED and now >= self._until

    def begin_trial(self, now: float) -> None:
        """A request tries it now."""
        self.state = State.TRIED
        self._until = now + self.rules.open_for

    def end_trial(self, now: float, asked: int, *, well: bool) -> bool:
        """The request that tried it was answered well, or not; whether that closed it."""
        if self.state is State.CLOSED:
            return False  # another has found out meanwhile
        if well:
            self.close(now, asked)
        else:
            self._times = min(2 * self._times, LONGEST)
            self._open(now)
        return well

    def close(self, now: float, asked: int) -> None:
        """Use the server again; what was counted before counts no more."""
        self.state = State.CLOSED
        self._failures = 0
        self._times = 1
        self._window = deque([(now, asked, self._errors)])

    def _open(self, now: float) -> None:
        if self.state is State.CLOSED:
            self.opened += 1
        self.state = State.OPEN
        self._until = now + self.rules.open_for * self._times

    @property
    def stays_open_for(self) -> float:
        """Seconds that it is left out for this time."""
        return self.rules.open_for * self._times
