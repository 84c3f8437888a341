"""What the servers saw: requests by id, and how many of an address were in flight at once.

Law: reads the servers' files (``server.py``) and counts; what is right is not known here. A request whose connection
has gone has no exact end: it was surely in flight until it was last known to be, and perhaps until that was noticed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path


@dataclass(slots=True)
class Seen:
    """One request at one server: ``surely_until`` and ``until`` differ where its connection had gone."""

    server: str
    request: int
    address: str
    method: str
    relay: bytes
    began: float
    surely_until: float
    until: float = inf


@dataclass(slots=True)
class Records:
    """All that servers saw. ``surplus``: moments at which bytes came that belong to no request."""

    seen: list[Seen] = field(default_factory=list)
    surplus: list[float] = field(default_factory=list)

    def by_request(self) -> dict[int, list[Seen]]:
        """By the caller's number of the request."""
        found: dict[int, list[Seen]] = defaultdict(list)
        for each in self.seen:
            found[each.request].append(each)
        return found


def read(files: Iterable[Path]) -> Records:
    """The records of servers; a file is named after its server."""
    records = Records()
    for file in files:
        _read(records, file.stem, file.read_text().splitlines())
    return records


def _read(records: Records, server: str, lines: list[str]) -> None:
    """A server that was killed begins to count anew; what it had in flight has no end."""
    open_ones: dict[str, Seen] = {}
    for line in lines:
        what, *words = line.split()
        if what == "b":
            at, number, request, address, method, relay = words
            one = Seen(server, int(request), address, method, relay.encode(), float(at), float(at))
            open_ones[number] = one
            records.seen.append(one)
        elif what == "e":
            at, number = words
            one = open_ones.pop(number)
            one.surely_until = one.until = float(at)
        elif what == "x":
            alive, noticed, number = words
            one = open_ones.pop(number)
            one.surely_until, one.until = float(alive), float(noticed)
        else:
            records.surplus.append(float(words[0]))


def most_at_once(spans: Iterable[tuple[float, float]]) -> tuple[int, float]:
    """The most of these spans that cover one moment, and the first such moment; an end comes before a beginning."""
    steps = sorted(step for began, ended in spans if ended > began for step in ((began, 1), (ended, -1)))
    highest, when, now = 0, 0.0, 0
    for at, step in steps:
        now += step
        if now > highest:
            highest, when = now, at
    return highest, when


def in_flight(seen: Iterable[Seen]) -> dict[str, tuple[int, float]]:
    """For each address the most that surely were in flight at once, over all servers, and when."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in seen:
        spans[each.address].append((each.began, each.surely_until))
    return {address: most_at_once(mine) for address, mine in spans.items()}
