"""When there is more to do than can be done: levels, and who has to go.

Law: numbers and instants that it is given; no loop, no sockets, no idea of what a request is. It decides; whoever asks
acts. All times are seconds of one monotonic clock.

Two things say that it is too much. *Lag*: how long a whole turn of the event loop takes, and so how long a request
waits in the kernel before it is read. One long turn says nothing (a burst may have come, the process may not have run);
a queue that stands does, so what counts is that *every* turn looked at for ``STANDING`` was too long (the rule of
CoDel, RFC 8289, which goes by the least delay in an interval). *Memory*: what the process has resident.

The levels:

* ``CALM``: nothing is refused.
* ``NO_NEWCOMERS``: of new connections only as many are let in as leave no lag.
* ``SHEDDING``: of new connections none; and each turn has a budget of requests that it may begin. What an address may
  have in flight falls over the turn, from the most that any has, at its beginning, to nothing when the budget is used
  up. So those with most in flight go first, and who has none goes last.

It rises one level (two, where turns are very long) after lag above ``max_lag`` has stood for ``STANDING``. It falls
one level after ``QUIET`` in which it was not needed and lag kept below half of ``max_lag``; in between it stays.

Newcomers, the budget and how many of the refused may return are steered by the smoothed lag, as TCP steers its window:
up in small steps while turns are shorter than ``TARGET`` of ``max_lag``, down by a part when they are longer.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

#: Seconds for which every turn looked at must be too long; and how many looks there must be at least.
STANDING: Final = 0.2
STANDING_LOOKS: Final = 3
#: Beyond so many times ``max_lag`` a look counts for two, and the level rises by two.
FAR: Final = 4
#: A turn in which the process ran for less than this part of it was no work: it, or the machine, was stopped.
STANDSTILL: Final = 0.02
#: Seconds in which a level was not needed after which it falls.
QUIET: Final = 1.0
#: Parts of ``max_lag``: what turns are steered to, and below what lag the level may fall.
TARGET: Final = 0.12
EASED: Final = 0.5
#: Weight of a look in the smoothed lag and in the smoothed pace.
SMOOTHING: Final = 0.3
#: Parts of ``max_memory`` from which new connections, and requests of who has one in flight, are refused; and how far
#: memory must fall below before that is over.
MEMORY_NO_NEWCOMERS: Final = 0.85
MEMORY_SHEDDING: Final = 0.95
MEMORY_SLACK: Final = 0.05
MEMORY_EASED: Final = MEMORY_SHEDDING - MEMORY_SLACK
#: New connections, and refused ones that return, at one look: the steps up, and the most.
STEP: Final = 0.5
MOST_AT_ONCE: Final = 64.0
#: Requests that one turn may begin while shedding: the least, where all else takes the time, and the most.
LEAST_BUDGET: Final = 2.0
MOST_BUDGET: Final = 10_000.0


class Level(IntEnum):
    """How far it has come."""

    CALM = 0
    NO_NEWCOMERS = 1
    SHEDDING = 2


class Overload:
    """``max_lag``: seconds, ``max_memory``: bytes; None where it does not count."""

    def __init__(self, max_lag: float | None, max_memory: int | None) -> None:
        self.max_lag = max_lag
        self.max_memory = max_memory
        self.lag = 0.0  # of the last look
        self._smooth = 0.0  # the same, smoothed
        self._by_lag = Level.CALM
        self._by_memory = Level.CALM
        self._long_since: float | None = None
        self._long_looks = 0
        self._changed = self._refused = self._turned_away = float("-inf")  # when level, request, newcomer last was
        self._is_full = self._was_full = False  # whether a request was refused since the last look, and the one before
        self._most = self._most_seen = 0  # in flight of one address
        self._pace = 0.0  # requests a second, smoothed
        self._ended, self._looked = 0, 0.0
        self._budget = LEAST_BUDGET
        self._admitted = 0  # in this turn
        self._newcomers = self._returners = 0.0

    @property
    def level(self) -> Level:
        """The higher one of what lag and what memory ask for."""
        return max(self._by_lag, self._by_memory)

    @property
    def is_by_memory(self) -> bool:
        """Whether memory asks for more than lag."""
        return self._by_memory > self._by_lag

    @property
    def by_memory(self) -> Level:
        """What memory asks for, whatever lag does."""
        return self._by_memory

    @property
    def is_long(self) -> bool:
        """Whether the last turn was too long."""
        return self._long_since is not None

    # -- looks --------------------------------------------------------------------------------------

    def look(self, lag: float, used: float, now: float, requests: int, *, owing: bool = False) -> None:
        """A turn took ``lag`` seconds, ``used`` so much CPU time of these, and ended ``now``.

        ``requests``: how many have ended so far; ``owing``: whether somebody who was refused is not read yet (then
        the level does not fall).
        """
        self.lag = lag
        self._smooth += SMOOTHING * (lag - self._smooth)
        self._pace += SMOOTHING * ((requests - self._ended) / max(now - self._looked, 1e-3) - self._pace)
        self._ended, self._looked = requests, now
        self._most, self._most_seen = max(self._most_seen, self._most * 3 // 4), 0
        self._was_full, self._is_full = self._is_full, False
        if self._was_full:
            self._refused = now
        if self.max_lag is None:
            return
        if lag <= self.max_lag:
            self._long_since, self._long_looks = None, 0
        elif used > STANDSTILL * lag:
            self._look_longer(lag, now, self.max_lag)
        if self._by_lag:
            self._steer(self.max_lag)
            if not owing and self._smooth <= EASED * self.max_lag and now - self._last_needed() >= QUIET:
                self._by_lag = Level(self._by_lag - 1)
                self._changed = now

    def _look_longer(self, lag: float, now: float, max_lag: float) -> None:
        if self._long_since is None:
            self._long_since = now - lag
        steps = 2 if lag > FAR * max_lag else 1
        self._long_looks += steps
        if self._long_looks < STANDING_LOOKS or now - self._long_since < STANDING:
            return
        self._long_since, self._long_looks = None, 0
        self._changed = now
        if self._by_lag < Level.SHEDDING:
            self._by_lag = Level(min(self._by_lag + steps, Level.SHEDDING))
            self._newcomers = self._returners = 0.0
            self._budget = max(LEAST_BUDGET, self._pace * TARGET * max_lag)

    def _last_needed(self) -> float:
        """When the level was last needed, or changed."""
        needed = self._refused if self._by_lag == Level.SHEDDING else self._turned_away
        return max(needed, self._changed)

    def _steer(self, max_lag: float) -> None:
        is_long = self._smooth > TARGET * max_lag
        if is_long:
            self._budget = max(self._budget * 0.9, LEAST_BUDGET)
        elif self._was_full:
            self._budget = min(self._budget * 1.1, MOST_BUDGET)
        if is_long or self._was_full:
            self._newcomers /= 2
            self._returners /= 2
        else:
            self._newcomers = min(self._newcomers + STEP, MOST_AT_ONCE)
            self._returners = min(self._returners + STEP, MOST_AT_ONCE)

    def weigh(self, resident: int) -> None:
        """The process has ``resident`` bytes in memory, after what is free was given back."""
        if self.max_memory is None:
            return
        part = resident / self.max_memory
        if part >= (MEMORY_EASED if self._by_memory == Level.SHEDDING else MEMORY_SHEDDING):
            self._by_memory = Level.SHEDDING
        elif part >= MEMORY_NO_NEWCOMERS - (MEMORY_SLACK if self._by_memory else 0):
            self._by_memory = Level.NO_NEWCOMERS
        else:
            self._by_memory = Level.CALM

    # -- who has to go ------------------------------------------------------------------------------

    def newcomers(self) -> int:
        """How many new connections may be let in at this look."""
        return int(self._newcomers) if self._by_lag < Level.SHEDDING and not self._by_memory else 0

    def returners(self) -> int:
        """How many of those who were refused and did not wait may try again at this look."""
        return int(self._returners)

    def turned_away(self, now: float) -> None:
        """A new connection had to go."""
        self._turned_away = now

    def begins_turn(self) -> bool:
        """Whether nobody was admitted in this turn yet. The one who hears True calls ``turn_over`` at its end."""
        return not self._admitted

    def turn_over(self) -> None:
        """The turn has ended."""
        self._admitted = 0

    def admits(self, in_flight: int) -> bool:
        """Whether a request of an address that has so many in flight may go on while shedding."""
        self._most_seen = max(self._most_seen, in_flight)
        may_have = (max(self._most, in_flight) + 1) * (1 - self._admitted / self._budget)
        too_many = self._by_lag == Level.SHEDDING and in_flight >= may_have
        if too_many or (in_flight and self._by_memory == Level.SHEDDING):
            self._is_full = True
            return False
        self._admitted += 1
        return True
