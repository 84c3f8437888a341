"""What was done to the gateway, when, and what each kind of event excuses: rows of data, and a diary.

Law: data and look-ups. What may fail because of an event is said here, by kind of event, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from tests.chaos.kinds import LONE, SHAKY


class Excuse(Enum):
    """What an event may be the reason of."""

    INSIDE = "requests inside the killed relay"
    UPSTREAM = "requests to the upstreams that it spoils"
    CALL = "key changes by the management API, whose answer is lost with management"
    BELL = "for so long as relays need to find the new doorbell, requests with a key that was changed meanwhile"


@dataclass(frozen=True, slots=True)
class EventKind:
    """``field``: of two events of one field one waits for the other; ``spoils``: upstreams that may answer with a
    fault; ``weight``: how often it is drawn, 0: by no dice; ``lasts``: seconds, at least and at most."""

    name: str
    field: str
    weight: int
    excuses: frozenset[Excuse] = frozenset()
    spoils: frozenset[str] = frozenset()
    lasts: tuple[float, float] = (0.0, 0.0)


def _row(
    name: str,
    field: str,
    weight: int,
    *excuses: Excuse,
    spoils: tuple[str, ...] = (),
    lasts: tuple[float, float] = (0, 0),
) -> EventKind:
    return EventKind(name, field, weight, frozenset(excuses), frozenset(spoils), lasts)


_BOTH = (SHAKY, LONE)
_SPOILT = (0.3, 1.5)
_ROWS = (
    _row("reload: limits", "configuration", 5),
    _row("reload: routes", "configuration", 5),
    _row("reload: listeners", "configuration", 4),
    _row("reload: upstreams", "configuration", 3),
    _row("reload: bad file", "configuration", 3),
    _row("upgrade", "configuration", 3),
    _row("relay: kill -9", "processes", 5, Excuse.INSIDE),
    _row("relay: stopped, looked into, kill -9", "processes", 5, Excuse.INSIDE),
    _row("relay: stopped for a moment", "processes", 4, lasts=(0.05, 0.8)),
    _row("management: kill -9", "processes", 4, Excuse.CALL),
    _row("management: stopped for a moment", "processes", 2, lasts=(0.05, 0.8)),
    # One of two servers does not listen: the other one takes it all.
    _row("server: refuses", "servers", 3, Excuse.UPSTREAM, spoils=(LONE,), lasts=_SPOILT),
    _row("server: close", "servers", 3, Excuse.UPSTREAM, spoils=_BOTH, lasts=_SPOILT),
    _row("server: half", "servers", 3, Excuse.UPSTREAM, spoils=_BOTH, lasts=_SPOILT),
    _row("server: stall", "servers", 3, lasts=_SPOILT),
    _row("server: error", "servers", 3, Excuse.UPSTREAM, spoils=_BOTH, lasts=_SPOILT),
    _row("server: garbage", "servers", 3, Excuse.UPSTREAM, spoils=_BOTH, lasts=_SPOILT),
    _row("server: kill -9", "servers", 4, Excuse.UPSTREAM, spoils=_BOTH, lasts=(0.1, 1.0)),
    _row("store: locked", "store", 3, lasts=(0.5, 2.0)),
    _row("store: moved away and back", "store", 3, lasts=(0.3, 1.5)),
    _row("doorbell: rings for nothing", "store", 3),
    _row("doorbell: truncated", "store", 2),
    _row("doorbell: removed", "store", 2, Excuse.BELL),
)
EVENTS = {row.name: row for row in _ROWS}


@dataclass(slots=True)
class Event:
    """One event. ``pid``: of whom it was done to; ``accepted``: the clients whose connections it had, where that is
    known; ``said``: what came of it; ``skipped``: why it was not done."""

    what: str
    began: float
    ended: float = inf
    pid: int = 0
    server: str = ""
    said: str = ""
    skipped: str = ""
    accepted: set[tuple[str, int]] | None = None

    @property
    def kind(self) -> EventKind:
        """Its row."""
        return EVENTS[self.what]


@dataclass(slots=True)
class Story:
    """Everything that was done, in order."""

    events: list[Event] = field(default_factory=list)

    def begin(self, what: str, at: float, server: str = "") -> Event:
        """An event begins now."""
        event = Event(what, at, server=server)
        self.events.append(event)
        return event

    def done(self) -> Iterator[Event]:
        """Those that were not skipped."""
        return (event for event in self.events if not event.skipped)

    def excusing(self, excuse: Excuse, began: float, ended: float, after: float = 0.0) -> Iterator[Event]:
        """The events with this excuse that overlap a span of time, or ended up to ``after`` seconds before it."""
        for event in self.done():
            if excuse in event.kind.excuses and event.began <= ended and event.ended + after >= began:
                yield event

    def around(self, began: float, ended: float, seconds: float = 1.5) -> list[Event]:
        """What went on near a span of time."""
        return [
            event for event in self.events if event.began <= ended + seconds and event.ended >= began - seconds
        ]
