"""Counters of all relays in shared memory: a page each, summed when somebody asks.

Law: numbers without meaning. Names, and which of them are gauges, are given by whoever sums; nothing here
waits, and a relay's page is written by that relay alone. When a relay has died the supervisor adds its page
to the base page, so that sums never go back. Numbers are unsigned and of 64 bits.

Behind the relays' pages lies one that the management process writes alone (``Tally``): what it counts itself, which the
next one goes on from.

A page is 512 words: a few of its own (``pid``, ``beat``, ``dropped``), then the counters in the order of
their names. The base page has no pid; its ``beat`` word is the lock of a seqlock (odd while a page is being
added), and its ``dropped`` word the sum of dead relays'.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

PAGE = 4096
_WORDS = PAGE // 8
_PID, _BEAT, _DROPPED, _RESTARTS = range(4)
_FIRST = 8
MOST_COUNTERS = _WORDS - _FIRST
"""How many counters a page holds."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that has a page: its process id, and the seconds since it last gave a sign of life."""

    pid: int
    silent_for: float


class Page:
    """The page of one relay, for that relay to write."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def store(self, values: Sequence[int]) -> None:
        """Publish the counters. Raises ValueError when there are more than a page holds."""
        if len(values) > MOST_COUNTERS:
            raise ValueError(f"{len(values)} counters do not fit into a page ({MOST_COUNTERS})")
        for at, value in enumerate(values, _FIRST):
            self._words[at] = value

    def beat(self, dropped: int) -> None:
        """Give a sign of life, and the number of messages that the channel has dropped."""
        self._words[_BEAT] = time.monotonic_ns()
        self._words[_DROPPED] = dropped

    def open(self) -> None:
        """Begin: this process writes the page from now on."""
        self.beat(0)
        self._words[_PID] = os.getpid()


class Tally:
    """Counters of a process that goes on from where the one before it has ended; there is one at a time."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def kept(self, names: Sequence[str]) -> dict[str, int]:
        """What was kept last, by name."""
        return dict(zip(names, self._words[: len(names)].tolist(), strict=True))

    def keep(self, values: Sequence[int]) -> None:
        """Keep these, in the order of their names; they are shown to nobody before they are kept."""
        for at, value in enumerate(values):
            self._words[at] = value


class CounterPages:
    """All pages. Page 0 is the base, the last one management's; relays have the others."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self._words = memoryview(self._map).cast("Q")
        self._pages = len(self._map) // PAGE - 1

    @classmethod
    def create(cls, relays: int) -> CounterPages:
        """Pages for this many relays, in a sealed memfd; ``fd`` is handed to children."""
        fd = os.memfd_create("keystile-counters", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(fd, (relays + 2) * PAGE)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return cls(fd)

    @classmethod
    def attach(cls, fd: int) -> CounterPages:
        """The pages behind an inherited descriptor."""
        return cls(fd)

    def close(self) -> None:
        """Let go of the memory and the descriptor."""
        self._words.release()
        self._map.close()
        os.close(self.fd)

    def page(self, number: int) -> Page:
        """The page of relay ``number`` (from 1), to be written by that relay only."""
        if not 0 < number < self._pages:
            raise ValueError(f"no page {number}")
        return Page(self._of(number))

    def tally(self) -> Tally:
        """Management's page, to be written by that process only."""
        return Tally(self._of(self._pages))

    def _of(self, number: int) -> memoryview:
        return self._words[number * _WORDS : (number + 1) * _WORDS]

    def fold(self, number: int) -> None:
        """Add a dead relay's page to the base page and empty it. The supervisor's, after the death."""
        base, dead = self._of(0), self._of(number)
        base[_BEAT] += 1
        for at in (_DROPPED, *range(_FIRST, _WORDS)):
            if dead[at]:
                base[at] += dead[at]
                dead[at] = 0
        dead[_PID] = dead[_BEAT] = 0
        base[_BEAT] += 1

    def add_restart(self) -> None:
        """Count one more child that was started again. The supervisor's."""
        self._words[_RESTARTS] += 1

    @property
    def restarts(self) -> int:
        """How often a child was started again."""
        return self._words[_RESTARTS]

    def totals(self, names: Sequence[str], gauges: Collection[str] = ()) -> dict[str, int]:
        """The sums over all relays by name. A counter's includes dead relays, a gauge's only living ones."""
        last = _FIRST + len(names)
        with_dead = self._consistent_sums(0, _FIRST, last)
        living = self._consistent_sums(1, _FIRST, last)
        rows = zip(names, with_dead, living, strict=True)
        return {name: alive if name in gauges else everything for name, everything, alive in rows}

    def dropped(self) -> int:
        """Messages that relays' channels have dropped."""
        return self._consistent_sums(0, _DROPPED, _DROPPED + 1)[0]

    def relays(self) -> list[Relay]:
        """The relays that are up."""
        now = time.monotonic_ns()
        pages = [self._of(number) for number in range(1, self._pages)]
        return [Relay(page[_PID], max(0, now - page[_BEAT]) / 1e9) for page in pages if page[_PID]]

    def _consistent_sums(self, page: int, first: int, last: int) -> list[int]:
        """The sums of some words over all pages from ``page`` on, not taken while a page is being added."""
        for _ in range(1000):
            before = self._words[_BEAT]
            columns = (self._of(number)[first:last].tolist() for number in range(page, self._pages))
            sums = [sum(column) for column in zip(*columns, strict=True)]
            if before % 2 == 0 and before == self._words[_BEAT]:
                return sums
        return sums  # the supervisor was stopped right while adding: better a number than none
