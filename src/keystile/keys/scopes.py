"""Names of permissions: which are valid, and a set of them as one text.

Law: this file knows how a scope is spelt, not what it permits nor which routes need it.

A name is an OAuth scope-token (RFC 6749 section 3.3: visible ASCII without ``"`` and
``\\``), so that scopes read from OpenAPI documents (``write:pets``) can be granted;
without the comma besides, so that lists may be written with commas.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

MAX_LENGTH = 200
_NAME = re.compile(rf"[!#-+\--\[\]-~]{{1,{MAX_LENGTH}}}")


def normalise(names: Iterable[str]) -> frozenset[str]:
    """Return the names as a set, without white space around them.

    Raises ValueError, naming the one that cannot be a scope.
    """
    return frozenset(_checked(name.strip()) for name in names)


def as_text(scopes: frozenset[str]) -> str:
    """Return the set as sorted names with single spaces between them: one text for one set."""
    return " ".join(sorted(scopes))


def from_text(text: str) -> frozenset[str]:
    """Return the set that ``as_text`` wrote."""
    return frozenset(map(sys.intern, text.split()))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f'{name!r} is not a scope (1 to {MAX_LENGTH} of ASCII, no space , " or \\)')
    return name
