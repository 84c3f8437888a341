"""What a look-up answers: a route, or why there is none.

Law: values only. Whether the answer becomes a 400, 404 or 405 is for the caller to say.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, Literal

from keystile.config.model import Cors, Needs


def _nothing() -> defaultdict[int, int]:
    return defaultdict(int)


@dataclass(slots=True, eq=False)
class Route:
    """One operation of the table. ``note`` and ``counts`` are places for the relay's own memo and mean nothing here.

    ``id`` is its place in the list the table was made from; ``methods`` is empty for every method.
    """

    id: int
    path: str
    methods: tuple[str, ...]
    needs: Needs
    upstream: str
    cors: Cors | None
    source: str
    websocket: bool = False
    note: object | None = None
    counts: defaultdict[int, int] = field(default_factory=_nothing, repr=False)


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why a request leads nowhere. ``reason`` may be shown; ``allow`` (``b"GET, HEAD"``) is for a wrong method."""

    kind: Literal["bad_path", "ambiguous", "not_found", "wrong_method"]
    reason: str
    allow: bytes = b""


NOT_FOUND: Final = NoRoute("not_found", "there is nothing at this path")
AMBIGUOUS: Final = NoRoute("ambiguous", "this path can also be read as another one that needs something else")
