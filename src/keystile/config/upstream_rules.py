"""What must be right across the settings of one upstream of gateway.yaml.

Law: as in ``rules.py``: it looks at the file as it is written, says every fault, and opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keystile.config import addresses, units
from keystile.config.faults import Fault
from keystile.config.model import Server
from keystile.config.written import Written
from keystile.config.yamltext import Loc

#: Servers of all upstreams together: as many as have a place in memory (``limits/servers.py``).
MOST_SERVERS: Final = 4000


def check(written: Written) -> Iterator[Fault]:
    """Every fault that any rule here finds."""
    seen = 0
    for upstream in written.items("upstreams"):
        yield from _twice(written, upstream)
        yield from _unused(written, upstream)
        yield from _probes_in_time(written, upstream)
        seen += len(written.items(*upstream, "servers"))
        if seen > MOST_SERVERS:
            message = f"brings the servers of all upstreams to {seen}; at most {MOST_SERVERS} can be told apart"
            yield written.fault((*upstream, "servers"), message)
            return


def servers(written: Written, upstream: Loc) -> list[tuple[Loc, Server]]:
    """The servers of an upstream that can be read, with the places of their addresses."""
    places = [_place(written, loc) for loc in written.items(*upstream, "servers")]
    return [(loc, server) for loc in places if (server := written.read(addresses.server, *loc)) is not None]


def _place(written: Written, loc: Loc) -> Loc:
    piece = written.get(*loc)
    return (*loc, "url") if piece is not None and piece.fields is not None else loc


def _twice(written: Written, upstream: Loc) -> Iterator[Fault]:
    seen: set[Server] = set()
    for loc, server in servers(written, upstream):
        if server in seen:
            yield written.fault(loc, "stands twice in this list; give one of them a weight instead", show=True)
        seen.add(server)


def _unused(written: Written, upstream: Loc) -> Iterator[Fault]:
    """A queue that nobody would ever enter."""
    if written.get(*upstream, "queue") is not None and not _is_capped(written, upstream):
        message = "has no meaning without max_in_flight, which is what requests wait for; set that, or leave it out"
        yield written.fault((*upstream, "queue"), message)


def _is_capped(written: Written, upstream: Loc) -> bool:
    return written.read(units.most_in_flight, *upstream, "max_in_flight") is not None


def _probes_in_time(written: Written, upstream: Loc) -> Iterator[Fault]:
    place = (*upstream, "health_check")
    timeout = written.read(units.duration, *place, "timeout")
    interval = written.read(units.duration, *place, "interval") or 5.0
    if timeout is not None and timeout > interval:
        message = f"is longer than the interval ({interval:g} s), so questions would overlap; write at most that"
        yield written.fault((*place, "timeout"), message, show=True)
    elif timeout is None and interval < 2.0 and written.get(*place, "interval") is not None:
        message = "is shorter than the timeout (2 s by default); write a timeout of at most that as well"
        yield written.fault((*place, "interval"), message, show=True)
