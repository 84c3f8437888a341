"""Values of what relays tell of keys, checked where they arrive.

Law: what the store could not take is refused here, and with it its batch. Once kept it would be tried again for ever,
and nothing that waits beside it would be written.
"""

from __future__ import annotations

import math
from typing import Final

from keystile.keys.secret import DIGEST_BYTES

_LONGEST_TEXT: Final = 1024
_MOST_REQUESTS: Final = 1 << 53
_MOST_HOURS: Final = 1 << 31  # a column of PostgreSQL's has so many


def text(value: object) -> str:
    """An id, an address, a version or a problem type. Raises ValueError."""
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isascii() and value.isprintable():
        return value
    raise ValueError("not a short text of printable ASCII")


def mark(value: object) -> str:
    """What tells a secret (``keys.secret.mark``), or nothing. Raises ValueError."""
    found = text(value)
    if len(bytes.fromhex(found)) > DIGEST_BYTES:
        raise ValueError("longer than a digest")
    return found


def moment(value: object) -> float:
    """Unix seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError("not a moment")


def hour(value: object) -> int:
    """Hours since 1970. Raises ValueError."""
    return _whole(value, _MOST_HOURS)


def count(value: object) -> int:
    """Requests. Raises ValueError."""
    return _whole(value, _MOST_REQUESTS)


def _whole(value: object, bound: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < bound:
        return value
    raise ValueError("not a whole number in its bounds")
