"""Which keys were used since management was last told of them: when, from where, in how many requests.

Law: the first use of a key puts it into a list, and what further ones cost is three slots of the key itself. What is
told is bounded in time, whatever is asked: some 1,000 keys a second and relay, those that have waited longest first, in
pieces that hold nobody up. So a use is told within a second where up to 1,000 keys are in use, of 100,000 within 100
seconds; and what a relay that is killed had not told is lost.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Final

from keystile.keys.keyring import NEVER, HeldKey
from keystile.keys.secret import mark

if TYPE_CHECKING:
    from keystile.relay.record import Channel

#: Keys, and sums of refusals, that one flush tells of (0.7 ms for 250 keys); there are four in a second.
PIECE: Final = 250
#: Seconds between two flushes that tell of keys where one piece holds them all: each key costs management two rows.
USES_SECONDS: Final = 1.0
#: Keys, and sums, that may wait to be told: uses of further ones are dropped and counted.
WAITING_KEYS: Final = 500_000
#: Seconds before the hour ends from which each use is looked at: by when the next flush has come for certain.
TURN_MARGIN: Final = 1.0
_HOUR: Final = 3600.0


class KeyUses:
    """What one relay has to tell of keys. Times are monotonic; ``epoch`` and one make Unix seconds.

    ``turn``: a key whose last use is older has to be looked at (``takes``) before another one is written into it: it is
    in no list yet, or what it holds is of another hour, and usage is by hour.
    """

    __slots__ = ("_due", "_epoch", "_fresh", "_next", "_sums", "dropped", "keys", "requests_dropped", "turn")

    def __init__(self) -> None:
        self.turn = float("inf")
        self.keys = 0
        self.dropped = 0
        self.requests_dropped = 0
        self._due = NEVER
        self._epoch = 0.0
        # By how their ids begin, the longest waiting first: what is told together lies together in the store, so that
        # management writes a tenth of the pages (100,000 keys: 6 µs for a row instead of 18).
        self._fresh: dict[str, list[HeldKey]] = {}
        self._next: list[HeldKey] = []
        self._sums: dict[tuple[str, int, str], int] = {}

    def go_by(self, now: float, epoch: float) -> None:
        """Take this for the time of day."""
        self._epoch = epoch
        began = (epoch + now) // _HOUR * _HOUR - epoch
        ends = began + _HOUR
        self.turn = ends if ends - now < TURN_MARGIN else began

    def takes(self, key: HeldKey) -> bool:
        """Whether a use may be written into ``key``, which is older than ``turn``; False where there is no room."""
        if key.used_at != NEVER:
            if key.requests:
                self.add(key.id, self._hour(key.used_at), "", key.requests)
                key.requests = 0
            return True
        if self.keys >= WAITING_KEYS:
            self.dropped += 1
            return False
        self.keys += 1
        begin = key.id[:2]
        some = self._fresh.get(begin)
        if some is None:
            self._fresh[begin] = [key]
        else:
            some.append(key)
        return True

    def add(self, key_id: str, hour: int, refusal: str, requests: int) -> None:
        """So many requests with a key in an hour (since 1970), by how they were refused; empty: they were not."""
        place = (key_id, hour, refusal)
        before = self._sums.get(place, 0)
        if before or len(self._sums) < WAITING_KEYS:
            self._sums[place] = before + requests
        else:
            self.requests_dropped += requests

    def tell(self, channel: Channel, now: float, *, last: bool = False) -> bool:
        """Tell of the next piece, where it is time; ``last``: of all there is. Whether something is left."""
        if last or now >= self._due or self.keys > PIECE:
            if self.keys:
                self._due = now + USES_SECONDS
            while self._tell_keys(channel) and last:
                continue
        while self._tell_sums(channel) and last:
            continue
        return bool(self.keys or self._sums)

    def give_up(self) -> None:
        """Count as dropped what could not be told."""
        waiting = [*self._next, *(key for some in self._fresh.values() for key in some)]
        self.dropped += len(waiting)
        self.requests_dropped += sum(key.requests for key in waiting) + sum(self._sums.values())
        _forget(waiting)
        self._next, self._fresh, self._sums, self.keys = [], {}, {}, 0

    def _tell_keys(self, channel: Channel) -> bool:
        """Tell of some keys; whether there are more, and was room. Without room all stay, for the next flush."""
        waiting = self._next
        while len(waiting) < PIECE and self._fresh:
            # Popped whole: keys that are used again meanwhile queue up behind all others.
            waiting += self._fresh.pop(next(iter(self._fresh)))
        some = waiting[:PIECE]
        if not some:
            return False
        # Sums first, and gone once told, whatever becomes of the uses: told twice they would be counted twice.
        sums = [(key.id, self._hour(key.used_at), "", key.requests) for key in some if key.requests]
        if sums:
            if not channel.send(b"C", _json(sums)):
                return False
            for key in some:
                key.requests = 0
        uses = [(key.id, key.used_at + self._epoch, key.used_from, mark(key.digest)) for key in some]
        if not channel.send(b"U", _json(uses)):
            return False
        _forget(some)
        del waiting[:PIECE]
        self.keys -= len(some)
        return self.keys > 0

    def _tell_sums(self, channel: Channel) -> bool:
        some = [(*place, requests) for place, requests in islice(self._sums.items(), PIECE)]
        if not some or not channel.send(b"C", _json(some)):
            return False
        for key_id, hour, refusal, _ in some:
            del self._sums[key_id, hour, refusal]
        return True

    def _hour(self, moment: float) -> int:
        return int((moment + self._epoch) // _HOUR)


def _forget(keys: list[HeldKey]) -> None:
    for key in keys:
        key.used_at = NEVER
        key.requests = 0


def _json(rows: object) -> bytes:
    return json.dumps(rows).encode("ascii")
