"""Texts of gateway.yaml that mean a point in time: days and moments.

Law: as in ``units.py``: one value in, Unix seconds out, ValueError with what would be right. What the time is
now does not matter here. YAML's own dates never get here: ``yamltext.py`` leaves them text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

# Also in the JSON Schema.
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DAY = re.compile(DAY)
_MOMENT = re.compile(rf"({DAY})[Tt ]([0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}})?) ?(Z|z|[+-][0-9]{{2}}:[0-9]{{2}})?")
_NO_DAY = "is not a day; write year, month and day, such as 2027-03-31"
_NO_MOMENT = "is not a moment; write day, time and zone, such as 2027-03-01T09:00Z"


def day(value: object) -> float:
    """The first second, in UTC, of a day such as ``2027-03-31`` (RFC 3339 full-date)."""
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError(_NO_DAY)
    return _seconds(f"{value}T00:00+00:00", _NO_DAY)


def moment(value: object) -> float:
    """A moment such as ``2027-03-01T09:00Z`` or ``2027-03-01T10:00+01:00`` (RFC 3339; seconds may be left out)."""
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_NO_MOMENT)
    date, time, zone = match.groups()
    if zone is None:
        raise ValueError("lacks its zone, so it could mean any of a day's hours; add Z for UTC, or such as +02:00")
    return _seconds(f"{date}T{time}{'+00:00' if zone in 'Zz' else zone}", _NO_MOMENT)


def shown(seconds: float) -> str:
    """A moment for people, in UTC: ``2027-03-31 00:00 UTC``."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _seconds(written: str, otherwise: str) -> float:
    try:
        seconds = datetime.fromisoformat(written).timestamp()
        datetime.fromtimestamp(seconds, UTC)  # an offset may lead out of the years that there are
    except (ValueError, OverflowError):
        raise ValueError(otherwise) from None
    return seconds
