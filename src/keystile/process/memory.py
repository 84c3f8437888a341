"""Counters of all relays in shared memory: a page each, summed when somebody asks.

Law: numbers without meaning. Which names are wanted, and which of them are gauges, is said by whoever sums; nothing
here waits, and a relay's page is written by that relay alone. When a relay has died the supervisor adds its page
to the base page, so that sums never go back. Numbers are unsigned and of 64 bits.

Behind the relays' pages lies one that the management process writes alone (``Tally``): what it counts itself, which the
next one goes on from; and behind that the ``Ledger``, for its sums under names that nobody knows beforehand.

A page says itself what its counters are called, so processes of two versions share pages though one of them counts what
the other does not know: what nobody asks for stays in the base page under its name, what nobody has counted is 0. It
is 1024 words: a few of its own (``pid``, ``beat``, ``dropped``, ``restarts``, how many bytes of names there are), then
the counters; and behind them the names, a line each. The base page has no pid; its ``beat`` word is the lock of a
seqlock (odd while a page is being added), and its ``dropped`` word the sum of dead relays'.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

LAYOUT = "1024 words: pid, beat, dropped, restarts, size of names; counters from 8; then names; management's; ledger"
"""What has to be the same for two versions of this file to share pages."""
PAGE = 32 * 1024
_WORDS = 1024
_NAMES_AT = _WORDS * 8
_PID, _BEAT, _DROPPED, _RESTARTS, _SIZE = range(5)
_FIRST = 8
MOST_COUNTERS = _WORDS - _FIRST
"""How many counters a page holds."""
MOST_NAMES = PAGE - _NAMES_AT
"""How many bytes their names may have, each with one more."""
LEDGER = 8 * 1024 * 1024
"""Bytes of the ledger. What was never written takes no memory."""
#: Of each half: which writing it was, the size of what follows, and the CRC-32 of these two and of that.
_HEAD = struct.Struct("=QQI")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that has a page: its process id, and the seconds since it last gave a sign of life."""

    pid: int
    silent_for: float


class _Named:
    """The counters of one page, with their names."""

    def __init__(self, page: memoryview) -> None:
        self.words = page[:_NAMES_AT].cast("Q")
        self._text = page[_NAMES_AT:]
        self._read: tuple[bytes, tuple[str, ...]] = b"", ()

    def names(self) -> tuple[str, ...]:
        """What the counters are called, in their order."""
        text = bytes(self._text[: self.words[_SIZE]])
        if text != self._read[0]:
            self._read = text, tuple(text.decode("ascii").split("\n")) if text else ()
        return self._read[1]

    def name(self, names: Sequence[str]) -> None:
        """Call them so. Raises ValueError when there are more than a page holds."""
        text = "\n".join(names).encode("ascii")
        if len(names) > MOST_COUNTERS or len(text) > MOST_NAMES:
            raise ValueError(f"{len(names)} counters do not fit into a page ({MOST_COUNTERS})")
        if text != bytes(self._text[: self.words[_SIZE]]):
            self.words[_SIZE] = 0  # whoever reads meanwhile finds none
            self._text[: len(text)] = text
            self.words[_SIZE] = len(text)

    def numbers(self) -> Iterable[tuple[str, int]]:
        """Each with its name."""
        names = self.names()
        return zip(names, self.words[_FIRST : _FIRST + len(names)].tolist(), strict=False)

    def write(self, values: Sequence[int]) -> None:
        """All of them."""
        words = self.words
        for at, value in enumerate(values, _FIRST):
            words[at] = value

    def add(self, numbers: Iterable[tuple[str, int]]) -> None:
        """Add to those that are there, and put others behind them; what finds no room is lost."""
        places = {name: at for at, name in enumerate(self.names())}
        found = [(name, value) for name, value in numbers if value]
        names = [*places, *(name for name, _ in found if name not in places)][:MOST_COUNTERS]
        while sum(map(len, names)) + len(names) > MOST_NAMES:
            names.pop()
        self.name(names)
        places = {name: at for at, name in enumerate(names)}
        for name, value in found:
            if name in places:
                self.words[_FIRST + places[name]] += value

    def release(self) -> None:
        """Let go of the memory."""
        self.words.release()
        self._text.release()


class Page:
    """The page of one relay, for that relay to write."""

    def __init__(self, page: _Named) -> None:
        self._page = page
        self._words = page.words
        self._names: Sequence[str] | None = None

    def store(self, names: Sequence[str], values: Sequence[int]) -> None:
        """Publish the counters. Raises ValueError when there are more than a page holds."""
        if names is not self._names:
            self._page.name(names)
            self._names = names
        self._page.write(values)

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

    def __init__(self, page: _Named) -> None:
        self._page = page

    def kept(self, names: Sequence[str]) -> dict[str, int]:
        """What was kept last, by name."""
        found = dict(self._page.numbers())
        return {name: found.get(name, 0) for name in names}

    def keep(self, names: Sequence[str], values: Sequence[int]) -> None:
        """Keep these; they are shown to nobody before they are kept."""
        self._page.name(names)
        self._page.write(values)


class Ledger:
    """Bytes that a process leaves to the one after it; there is one at a time. They are written into two halves in
    turn: who is killed while writing leaves the other half whole.
    """

    def __init__(self, memory: memoryview) -> None:
        half = len(memory) // 2
        self._halves = memory[:half], memory[half:]

    def read(self) -> bytes:
        """What was written last, empty where nothing was."""
        return max(map(_written, self._halves))[1]

    def write(self, data: bytes) -> None:
        """Leave this. Raises ValueError where it is too much; then what was there stays."""
        numbers = [_written(half)[0] for half in self._halves]
        half = self._halves[numbers.index(min(numbers))]
        if _HEAD.size + len(data) > len(half):
            raise ValueError(f"{len(data)} bytes do not fit into the ledger ({len(half) - _HEAD.size})")
        half[: _HEAD.size] = bytes(_HEAD.size)
        half[_HEAD.size : _HEAD.size + len(data)] = data
        number = max(numbers) + 1
        half[: _HEAD.size] = _HEAD.pack(number, len(data), _check(number, data))

    def release(self) -> None:
        """Let go of the memory."""
        for half in self._halves:
            half.release()


def _written(half: memoryview) -> tuple[int, bytes]:
    """Which writing a half of the ledger holds, and what; 0 and nothing where it is not whole."""
    number, size, check = _HEAD.unpack_from(half)
    data = bytes(half[_HEAD.size : _HEAD.size + size])
    return (number, data) if len(data) == size and _check(number, data) == check else (0, b"")


def _check(number: int, data: bytes) -> int:
    return crc32(data, crc32(struct.pack("=QQ", number, len(data))))


class CounterPages:
    """All pages. Page 0 is the base, the last one management's; relays have the others. Behind them is the ledger."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self._memory = memoryview(self._map)
        count = (len(self._map) - LEDGER) // PAGE
        self._ledger = Ledger(self._memory[count * PAGE :])
        self._all = [_Named(self._memory[at * PAGE : (at + 1) * PAGE]) for at in range(count)]
        self._base, self._relays = self._all[0], self._all[1:-1]

    @classmethod
    def create(cls, relays: int) -> CounterPages:
        """Pages for this many relays, in a sealed memfd; ``fd`` is handed to children."""
        fd = os.memfd_create("keystile-counters", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(fd, (relays + 2) * PAGE + LEDGER)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return cls(fd)

    @classmethod
    def attach(cls, fd: int) -> CounterPages:
        """The pages behind an inherited descriptor."""
        return cls(fd)

    def close(self) -> None:
        """Let go of the memory and the descriptor."""
        for page in self._all:
            page.release()
        self._ledger.release()
        self._memory.release()
        self._map.close()
        os.close(self.fd)

    def page(self, number: int) -> Page:
        """The page of relay ``number`` (from 1), to be written by that relay only."""
        if not 0 < number <= len(self._relays):
            raise ValueError(f"no page {number}")
        return Page(self._all[number])

    def tally(self) -> Tally:
        """Management's page, to be written by that process only."""
        return Tally(self._all[-1])

    def ledger(self) -> Ledger:
        """Management's, to be written by that process only."""
        return self._ledger

    def fold(self, number: int) -> None:
        """Add a dead relay's page to the base page and empty it. The supervisor's, after the death."""
        base, dead = self._base, self._all[number]
        base.words[_BEAT] += 1
        base.add(dead.numbers())
        base.words[_DROPPED] += dead.words[_DROPPED]
        dead.words[_SIZE] = dead.words[_DROPPED] = 0
        dead.write([0] * MOST_COUNTERS)
        dead.words[_PID] = dead.words[_BEAT] = 0
        base.words[_BEAT] += 1

    def add_restart(self) -> None:
        """Count one more child that was started again. The supervisor's."""
        self._base.words[_RESTARTS] += 1

    @property
    def restarts(self) -> int:
        """How often a child was started again."""
        return self._base.words[_RESTARTS]

    def totals(self, names: Sequence[str], gauges: Collection[str] = ()) -> dict[str, int]:
        """The sums over all relays by name. A counter's includes dead relays, a gauge's only living ones."""
        for _ in range(1000):
            before = self._base.words[_BEAT]
            sums = Counter(dict(self._base.numbers()))
            for name in gauges:
                sums[name] = 0
            for page in self._relays:
                for name, value in page.numbers():
                    sums[name] += value
            if self._is_settled(before):
                break  # else the supervisor was stopped right while adding: better a number than none
        return {name: sums[name] for name in names}

    def highest(self, name: str) -> int:
        """The highest that a living relay has of it."""
        return max((value for page in self._relays for each, value in page.numbers() if each == name), default=0)

    def dropped(self) -> int:
        """Messages that relays' channels have dropped."""
        for _ in range(1000):
            before = self._base.words[_BEAT]
            found = sum(page.words[_DROPPED] for page in (self._base, *self._relays))
            if self._is_settled(before):
                break
        return found

    def relays(self) -> list[Relay]:
        """The relays that are up."""
        now = time.monotonic_ns()
        words = [page.words for page in self._relays]
        return [Relay(page[_PID], max(0, now - page[_BEAT]) / 1e9) for page in words if page[_PID]]

    def _is_settled(self, before: int) -> bool:
        """Whether no page was being added since the base page's ``beat`` was read."""
        return before % 2 == 0 and before == self._base.words[_BEAT]
