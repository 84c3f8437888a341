"""Pages of a list: where one begins, and how the next is asked for.

Law: a cursor is a position in an order, not a secret and not a snapshot: what is added or deleted meanwhile
neither repeats nor hides anything else. It holds no more than the caller has already seen.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from aiohttp import web

from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.api.query import CURSOR

Item = TypeVar("Item")
Place = TypeVar("Place", str, int)


def cursor_of(place: str | int) -> str:
    """Return the cursor that says "after this place"."""
    return urlsafe_b64encode(json.dumps(place).encode("ascii")).decode("ascii").rstrip("=")


def place_of(cursor: str | None, kind: type[Place]) -> Place | None:
    """Return the place in a cursor, None without one; raises ApiProblem (400) for what is no cursor of this list."""
    if cursor is None:
        return None
    try:
        place = json.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
        if type(place) is not kind or cursor_of(place) != cursor:
            raise ValueError("no cursor of this list")
    except (ValueError, RecursionError):
        raise ApiProblem(Problem.MALFORMED, "This is no cursor of this list.", field=CURSOR.name) from None
    return place


def page(
    items: Sequence[Item], place_in_order: Callable[[Item], str], limit: int, cursor: str | None
) -> tuple[Sequence[Item], str | None]:
    """Cut one page out of ``items``, which are in ascending order of their unique places.

    Returns the page and the cursor of the next one, None on the last.
    """
    after = place_of(cursor, str)
    rest = [item for item in items if after is None or place_in_order(item) > after]
    shown = rest[:limit]
    return shown, cursor_of(place_in_order(shown[-1])) if len(rest) > limit else None


def next_link(request: web.Request, cursor: str | None) -> dict[str, str]:
    """The Link field (RFC 8288) to the next page: relative, so that nothing of the caller's Host gets into it."""
    if cursor is None:
        return {}
    query = urlencode({**request.query, CURSOR.name: cursor})
    return {"Link": f'<{request.rel_url.raw_path}?{query}>; rel="next"'}
