"""Path templates: ``/v4/files/{name}`` and ``/v2/*`` as shapes that can be compared.

Law: this file knows how a template is written and nothing of what it leads to. A template that could mean
something other than its author thinks is refused, not interpreted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from keystile.routing.paths import BadPath, is_plain, segments

_PARAMETER: Final = re.compile(r"\{\w[\w.$~-]*\}").fullmatch
_BEYOND_ASCII: Final = re.compile(rb"[^\x00-\x7f]")


class BadTemplate(ValueError):
    """A path template that cannot be served; its text says why, for its author."""


@dataclass(frozen=True, slots=True)
class Template:
    """The shape of a template, without parameter names: equal for ``/a/{x}`` and ``/a/{y}``.

    ``segments``: literals (decoded bytes) and None for a parameter. ``below``: it ended in ``/*``, and
    ``segments`` is what stands before.
    """

    segments: tuple[bytes | None, ...]
    below: bool = False


def parse_template(text: str) -> Template:
    """The shape of a template; raises ``BadTemplate``."""
    if not text.startswith("/"):
        raise BadTemplate("a path begins with a slash")
    parts = text[1:].split("/")
    below = parts[-1] == "*"
    if below:
        parts.pop()
    if "" in (parts if below else parts[:-1]):
        raise BadTemplate("two slashes stand together: no request with an empty segment is let in")
    return Template(tuple(None if _PARAMETER(part) else _literal(part) for part in parts), below)


def _literal(part: str) -> bytes:
    """What a literal segment is compared with: its bytes, decoded once as those of a request are."""
    if "{" in part or "}" in part:
        raise BadTemplate(f"{part!r}: a parameter is a whole segment, such as {{name}}")
    if "*" in part:
        raise BadTemplate("a * stands alone, as the last segment: /files/*")
    if is_plain(b"/" + part.encode()):
        return part.encode()
    raw = _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], part.encode())
    try:
        [literal] = segments(b"/" + raw)
    except BadPath as bad:
        raise BadTemplate(f"{part!r}: {bad.reason}, so no request would be let in") from None
    return literal
