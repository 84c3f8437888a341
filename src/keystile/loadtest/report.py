"""The report: one HTML file that needs nothing from elsewhere.

Law: a record goes in, a page comes out; no text gets into it but through Jinja2's escaping, and a key found in a
text where none belongs is redacted. The page holds no script, and its own Content-Security-Policy allows nothing
but its style, so whatever a document made by others holds, nothing of it is run or loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from keystile.keys.secret import redact
from keystile.loadtest import charts, histogram, wording
from keystile.loadtest.comparison import Comparison, ratio_text, verdict, word
from keystile.loadtest.connection import BROKEN, CUT, LATE, NO_CONNECTION
from keystile.loadtest.credentials import ANSWERED
from keystile.loadtest.objectives import MEANING, duration
from keystile.loadtest.records import AddressSum, CallSum, Record, summed
from keystile.loadtest.summing import is_exact
from keystile.management.pages.usage import why
from keystile.management.pages.writing import shown

_HERE: Final = Path(__file__).parent / "templates"
_MOST_ROWS: Final = 30
_WORDS: Final[Mapping[str, str]] = {
    "invalid-api-key": "the key was one that the gateway does not have",
    "api-key-required": "no key was sent",
    NO_CONNECTION: "no connection could be made",
    CUT: "the connection was closed without a whole answer",
    BROKEN: "the answer could not be read",
    LATE: "no answer came in time",
    ANSWERED: "answered where it should have been refused",
}
_ADDRESSES: Final = 12
_BEFORE_UNIT: Final = re.compile(r"(?<=[≤≥0-9]) (?=[0-9]|[µm]?s\b|/ s|%|×)")


@dataclass(frozen=True, slots=True)
class Reason:
    """Requests that were not answered, by one reason; ``right``: as it should be."""

    slug: str
    words: str
    count: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One operation."""

    method: str
    template: str
    requests: int
    wrong: int
    p50: str
    p99: str


def page(one: Record) -> str:
    """The report of a run."""
    return _render(
        "report.html",
        run=one,
        charts=charts.of_run(one),
        reasons=_reasons(one),
        calls=_calls(one.calls),
        more_calls=max(0, len(one.calls) - _MOST_ROWS),
        addresses=_addresses(one.addresses),
        more_addresses=max(0, len(one.addresses) - _ADDRESSES),
        requests=sum(window.ended for window in one.windows),
        rounds=[(each, is_exact(each, one.cap)) for each in one.rounds],
    )


def comparison_page(found: Comparison) -> str:
    """The page of two runs."""
    return _render(
        "comparison.html",
        found=found,
        charts=charts.of_two(found.before, found.after),
        verdict=verdict(found),
        word=word,
        ratio=ratio_text,
    )


def _render(template: str, **values: object) -> str:
    return redact(_environment().get_template(template).render(values))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(shown=shown, tight=_tight)
    made.globals.update(
        limit=wording.limit,
        measured=wording.measured,
        meaning=MEANING,
        duration=duration,
        number=_number,
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),  # our own file: nobody's text is in it
    )
    return made


def _tight(text: str) -> str:
    """A figure that keeps its unit on its line."""
    return _BEFORE_UNIT.sub("\u00a0", text)


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _reasons(one: Record) -> list[Reason]:
    """Failures first, then refusals, most first."""
    total = sum(window.ended for window in one.windows) or 1
    both = ((summed(one.windows, "wrong"), False), (summed(one.windows, "refused"), True))
    return [
        Reason(slug, _WORDS.get(slug) or why(slug), count, count / total, right)
        for reasons, right in both
        for slug, count in reasons
    ]


def _calls(calls: Iterable[CallSum]) -> list[Row]:
    """Those with failures first, then those called most."""
    ordered = sorted(calls, key=lambda each: (-each.wrong, -each.requests, each.template, each.method))
    return [
        Row(each.method, each.template, each.requests, each.wrong, _time(each, 0.5), _time(each, 0.99))
        for each in ordered[:_MOST_ROWS]
    ]


def _time(call: CallSum, share: float) -> str:
    found = histogram.percentile(call.latency, share)
    return "–" if found is None else duration(found)


def _addresses(addresses: Iterable[AddressSum]) -> list[AddressSum]:
    """Those with most in flight."""
    return sorted(addresses, key=lambda each: (-(each.served or 0), -each.asked, each.address))[:_ADDRESSES]
