"""ETags and If-Match (RFC 9110 sections 8.8.3 and 13.1.1): nobody overwrites what they have not seen.

Law: a version number goes out as ETag and comes back as If-Match. Whether it is still right is decided by the
domain, inside its transaction; here only what cannot be right is refused.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from keystile.management.api.problems import ApiProblem, Problem

_TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
_TAGS: Final = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_EACH: Final = re.compile(_TAG)
LONGEST: Final = 1000
"""Characters of an If-Match."""


def etag(version: int) -> dict[str, str]:
    """The ETag field of something at this version."""
    return {"ETag": f'"{version}"'}


def seen_version(request: web.Request, current: int, *, needed: bool = True) -> int | None:
    """Return the version that the caller has seen, for the domain to compare; None when any will do (``*``).

    Raises ApiProblem: 428 without If-Match where it is ``needed``, 412 where none of its tags is that of
    ``current``, 400 where it is no If-Match. A weak tag never matches.
    """
    given = request.headers.getall("If-Match", [])
    if not given:
        if needed:
            raise ApiProblem(Problem.IF_MATCH_NEEDED, field="If-Match")
        return None
    text = ", ".join(given).strip(" \t")
    if text == "*":
        return None
    if len(text) > LONGEST or not _TAGS.fullmatch(text):
        raise ApiProblem(Problem.MALFORMED, 'An If-Match is * or ETags in quotes, such as "3".', field="If-Match")
    if f'"{current}"' not in _EACH.findall(text):
        raise ApiProblem(Problem.STALE, field="If-Match")
    return current
