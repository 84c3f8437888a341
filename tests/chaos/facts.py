"""What was going on while a request lived: asked by the rules, answered from diary, ledger and the servers' records.

Law: look-ups only; no verdicts. Moments are seconds of the monotonic clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tests.chaos.crowd import Crowd
from tests.chaos.kinds import CUT, LEFT
from tests.chaos.ledger import Entry, Ledger
from tests.chaos.seen import Records
from tests.chaos.story import Event, Excuse, Story

NOTICED_WITHIN = 1.0
"""Seconds within which a caller notices, on a busy machine, that its relay has been killed."""
SPOILT_AFTER = 0.3
"""Seconds after a server's failure in which connections that it broke may still come to light."""
LEFT_OUT_AFTER = 5.0
"""Seconds after it in which a server may still be left out: until a try, or a second health check, finds it well."""
BELL_FOUND_WITHIN = 2.5
"""Seconds in which every relay finds a new doorbell: they look once a second."""
FREED_WITHIN = 0.5
"""Seconds in which the slot of a request is back whose end the gateway has to notice first."""
NO_SLOT = frozenset({"400", "401", "403", "404", "405", "429"})
"""Outcomes of requests that never held a slot."""
HELD_UP_FOR = 0.5
"""Seconds after a relay that had the slots' mutex woke up or died, in which others may still wait for it."""


class Facts:
    """``pids``: of relays by the digits of their request ids; ``doomed``: relays that died of what was done to them."""

    def __init__(
        self, ledger: Ledger, records: Records, story: Story, pids: Mapping[bytes, int], doomed: frozenset[int]
    ) -> None:
        self.seen = records.by_request()
        self._story = story
        self._pids = pids
        self._killed = {
            event.pid: event.began for event in story.done() if Excuse.INSIDE in event.kind.excuses and event.pid
        }
        self._doomed = doomed
        self._held = {address: Crowd(spans) for address, spans in self._spans(ledger).items()}

    def _spans(self, ledger: Ledger) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for entry in ledger.entries:
            if entry.outcome not in NO_SLOT:
                found[entry.client[0]].append((entry.sent, self.freed(entry)))
        return found

    def freed(self, entry: Entry) -> float:
        """When its slot was back at the latest."""
        until = max((each.until for each in self.seen.get(entry.number, ())), default=0.0)
        unsure = entry.outcome in (CUT, LEFT)
        return max(entry.ended, until if until < entry.ended + 60 else 0.0) + (FREED_WITHIN if unsure else 0.0)

    def relay_of(self, entry: Entry) -> bytes:
        """Which relay had it: by an earlier answer on its connection, or by what a server saw; empty: not known."""
        if entry.relay:
            return entry.relay
        return next((each.relay for each in self.seen.get(entry.number, ())), b"")

    def was_inside(self, entry: Entry) -> bool:
        """Whether it was in a relay that was killed, and ended with it."""
        relay = self.relay_of(entry)
        if relay and (pid := self._pids.get(relay, 0)):
            return pid in self._doomed or self._killed.get(pid, entry.ended + 1) <= entry.ended
        events = self._story.excusing(Excuse.INSIDE, entry.ended - NOTICED_WITHIN, entry.ended)
        killed = any(event.began <= entry.ended and _was_accepted(entry, event) for event in events)
        return killed or (not relay and self.met_a_held_mutex(entry))

    def met_a_held_mutex(self, entry: Entry) -> bool:
        """Whether it lived while a relay was stopped that had the slots' mutex then, and was killed for it."""
        events = (event for event in self._story.done() if event.pid in self._doomed)
        return any(event.began <= entry.ended and entry.sent <= event.ended + HELD_UP_FOR for event in events)

    def was_spoilt(self, entry: Entry, after: float = SPOILT_AFTER) -> bool:
        """Whether a server of its upstream failed while it lived, or up to ``after`` seconds before."""
        upstream = entry.kind.upstream
        events = self._story.excusing(Excuse.UPSTREAM, entry.sent, entry.ended, after)
        return bool(upstream) and any(upstream in event.kind.spoils for event in events)

    def bell_was_away(self, entry: Entry) -> bool:
        """Whether relays may not have heard yet of a change that was made under a new doorbell."""
        return any(self._story.excusing(Excuse.BELL, entry.sent, entry.ended, BELL_FOUND_WITHIN))

    def most_held(self, entry: Entry) -> int:
        """How many slots of its address may have been taken by others, at the moment of its life when most were."""
        crowd = self._held.get(entry.client[0])
        return crowd.most(entry.sent, entry.ended) if crowd is not None else 0


def _was_accepted(entry: Entry, event: Event) -> bool:
    """Whether the dead relay had its connection, as far as is known: no port is known of a handshake that failed."""
    return event.accepted is None or not entry.client[1] or entry.client in event.accepted
