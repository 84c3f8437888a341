"""Which of the calls a raw path means.

Law: bytes of a path as the relay forwarded them. It is split before it is decoded, so that a name such as ``a/b``,
which clients send as ``a%2Fb``, stays one name.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from keystile.config.model import MANAGEMENT_UPSTREAM
from keystile.management.service_calls.errors import NOT_FOUND, Refused
from keystile.routing.route import Route
from keystile.routing.table import RouteTable


class Place(NamedTuple):
    """``kind``: ``apikeys`` or ``smtp``; ``name``: of one of them, or None for all."""

    kind: str
    name: str | None


def place_of(raw_path: str, prefix: str) -> Place:
    """The place of a raw request target; raises ``Refused`` where it is none of these calls."""
    path = raw_path.partition("?")[0].encode("ascii", "replace")
    above = [unquote_to_bytes(part) for part in prefix.split("/")]
    raw = path.split(b"/")
    segments = [unquote_to_bytes(part) for part in raw]
    kind, *names = segments[len(above) :] or [b""]
    if segments[: len(above)] != above or len(names) > 1:
        raise Refused(NOT_FOUND)
    try:
        return Place(kind.decode(), names[0].decode() if names else None)
    except UnicodeDecodeError:
        raise Refused(NOT_FOUND) from None


def can_be_reached(table: RouteTable, prefix: str, place: Place) -> bool:
    """Whether clients can name it in a path at all: ``.``, ``a/../b`` or ``a\\b`` never come through.

    Nor do names whose path can be read as one of another row: the relay refuses what is ambiguous.
    """
    path = f"{prefix}/{place.kind}/{quote(place.name or '', safe='')}".encode()
    found = [table.find(method, path) for method in (b"GET", b"PUT", b"DELETE")]
    return all(isinstance(route, Route) and route.upstream == MANAGEMENT_UPSTREAM for route in found)
