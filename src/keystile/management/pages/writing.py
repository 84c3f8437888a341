"""How pages write moments, hints and names.

Law: values become text or escaped HTML here; nothing is asked and nothing decided. Times are Unix seconds and are
written in UTC; the browser writes them again in the reader's own time zone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

# Unicode's bidirectional controls (UAX #9): in a name they could reorder what stands around it, so they are shown.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_STEPS = ((1.0, "second"), (60.0, "minute"), (3600.0, "hour"), (86400.0, "day"))
_MINUTE = 60.0
_DAYS_IN_WORDS = 30 * 86400.0


def moment(at: float) -> Markup:
    """``<time>`` with date and minute."""
    return _time(at, plain_moment(at), "minute")


def day(at: float) -> Markup:
    """``<time>`` with the date alone."""
    return _time(at, _day_text(at), "day")


@pass_context
def ago(context: Context, at: float) -> Markup:
    """``<time>`` with how long ago (or how far ahead) it is; the date where that is more than a month."""
    seconds = float(context["now"]) - at
    return day(at) if abs(seconds) >= _DAYS_IN_WORDS else _time(at, distance(seconds), "ago")


def distance(seconds: float) -> str:
    """How long ago in words (negative: how far ahead)."""
    ahead = seconds < 0
    if abs(seconds) < _MINUTE:
        return "in less than a minute" if ahead else "just now"
    return f"in {length(-seconds)}" if ahead else f"{length(seconds)} ago"


def length(seconds: float) -> str:
    """A length of time in words, cut to its largest unit: "3 hours"."""
    unit, word = [step for step in _STEPS if step[0] <= seconds or step is _STEPS[0]][-1]
    count = int(seconds // unit)
    return f"{count} {word}{'' if count == 1 else 's'}"


def plain_moment(at: float) -> str:
    """Date and minute as text."""
    return f"{_day_text(at)}, {_utc(at):%H:%M} UTC"


def hint(last_five: str) -> str:
    """All that is ever shown of a secret again."""
    return f"•••…{last_five}"


def shown(text: str) -> str:
    """A text of somebody's own, with characters that reorder their surroundings made visible."""
    return _BIDI.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def _time(at: float, text: str, form: str) -> Markup:
    exact = _utc(at).strftime("%Y-%m-%dT%H:%M:%SZ")
    title = f"{_day_text(at)}, {_utc(at):%H:%M:%S} UTC"
    return Markup('<time datetime="{}" data-form="{}" title="{}">{}</time>').format(exact, form, title, text)


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _day_text(at: float) -> str:
    moment = _utc(at)
    # %-d is not everywhere, and %b speaks the server's language.
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
