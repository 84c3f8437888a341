"""The picture of a run: CPU per request, a panel for each case; below it, what latency each gateway adds.

Law: places on a card; figures come from ``table.py``, shapes from ``svg.py``. In each panel bars begin at nothing and
share one scale, which ends at BROKEN times HAProxy's bar: a longer one is drawn broken, since a gateway ten times as
costly would leave the others no length to differ by. Its figure stands beside it like all others.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.cases import CASES, is_paced, title_of
from bench.plot_latency import latency_panel
from bench.record import Record
from bench.svg import WIDTH, Card
from bench.table import MEASURE, Row, gateways, latency, rows

PADDING = 36.0
COLUMNS = 3
GAP = 34.0
LINE = 21.0
BAR = 12.0
NAMES, FIGURES, RATIOS = 134.0, 112.0, 52.0
"""Room for a gateway's name before its bar, for figure and ratio behind it, and of these for the ratio."""
BROKEN = 4.0
KIND = {"keystile": "ours", "keystile-compiled": "ours", MEASURE: "measure"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A case: its rows by gateway, and a word for each gateway that has none. Microseconds at the end of the scale."""

    title: str
    rows: Mapping[str, Row]
    absent: Mapping[str, str]
    limit: float


def plot(record: Record, title: str = "CPU per request, side by side") -> str:
    """The picture as a document of SVG."""
    card = Card()
    full = [row for row in rows(record.turns) if not is_paced(row.case)]
    names = gateways(full)
    y = _head(card, record, title, full)
    height = 26 + LINE * len(names) + 30
    panels = [_panel(record, case, names, full) for case in dict.fromkeys(row.case for row in full)]
    columns = max(1, min(COLUMNS, len(panels)))
    width = (WIDTH - 2 * PADDING - (columns - 1) * GAP) / columns
    for place, panel in enumerate(panels):
        line, column = divmod(place, columns)
        _draw(card, panel, names, PADDING + column * (width + GAP), y + line * height, width)
    y += height * -(-len(panels) // columns)
    for rate in dict.fromkeys(row.rate for row in latency(record.turns)):
        y = latency_panel(card, [row for row in latency(record.turns) if row.rate == rate], y, PADDING, KIND)
    y = _foot(card, record, y)
    return card.document(y + PADDING / 2, title)


def kind_of(gateway: str) -> str:
    """Which colour a gateway has: ours, the measure, or that of all others."""
    return KIND.get(gateway, "other")


def micro(value: float) -> str:
    """A time given in microseconds with three digits or so."""
    if value >= 1000:
        return f"{value / 1000:.2f} ms" if value < 10_000 else f"{value / 1000:.1f} ms"
    return f"{value:.1f} µs" if value < 100 else f"{value:.0f} µs"


def _head(card: Card, record: Record, title: str, full: Sequence[Row]) -> float:
    card.text(PADDING, 50, title, size=24, bold=True)
    dates = " and ".join(dict.fromkeys(str(run.get("date", ""))[:10] for run in record.runs))
    machines = "; ".join(dict.fromkeys(str(run.get("machine", "")) for run in record.runs))
    card.text(PADDING, 74, " · ".join(text for text in (dates, machines) if text), kind="soft", size=13)
    y = 108.0
    if full:
        least, most = min(row.rounds for row in full), max(row.rounds for row in full)
        told = f"{least} to {most} rounds" if least < most else f"{most} rounds" if most > 1 else "one round"
        _legend(card, y, f"median of {told}; ×: to HAProxy in the same round")
        y += 42
    return y


def _legend(card: Card, y: float, words: str) -> None:
    x = PADDING
    for kind, name in (("ours", "user"), ("ours-pale", "system")):
        card.box(x, y - 10, 22, BAR, kind, 2)
        card.text(x + 30, y, name, kind="soft")
        x += 92
    card.line(x, y - 14, x, y + 5, "mark", dashes="3 3")
    card.text(x + 10, y, "HAProxy", kind="soft")
    x += 84
    card.box(x, y - 10, 36, BAR, "other", 2)
    _break(card, x + 18, y - 10)
    card.text(x + 46, y, f"more than {BROKEN:g} times HAProxy", kind="soft")
    card.text(WIDTH - PADDING, y, words, kind="soft", anchor="end")


def _panel(record: Record, case: str, names: Sequence[str], full: Sequence[Row]) -> Panel:
    found = {row.gateway: row for row in full if row.case == case}
    longest = max(row.cpu for row in found.values())
    limit = min(longest, BROKEN * found[MEASURE].cpu) if MEASURE in found else longest
    absent = {name: _why(record, case, name) for name in names if name not in found}
    return Panel(title_of(case), found, absent, limit)


def _why(record: Record, case: str, name: str) -> str:
    if any((failure.case, failure.gateway) == (case, name) for failure in record.failures):
        return "failed"
    asks = CASES[case].asks if case in CASES else ""
    return "cannot do it" if asks and asks in record.left_out().get(name, ()) else "not measured"


def _draw(card: Card, panel: Panel, names: Sequence[str], x: float, y: float, width: float) -> None:
    card.text(x, y, panel.title, size=14.5, bold=True)
    end = x + width
    card.line(x, y + 9, end, y + 9, "edge")
    begin, room = x + NAMES, width - NAMES - FIGURES
    for place, name in enumerate(names):
        middle = y + 26 + place * LINE
        row = panel.rows.get(name)
        ours = KIND.get(name) == "ours"
        card.text(x, middle + 4, name, kind="word" if ours else "soft", bold=ours, size=12.5)
        if row is None:
            card.text(end, middle + 4, panel.absent[name], kind="mark", size=12, anchor="end")
            continue
        _bar(card, row, begin, middle, min(1.0, row.cpu / panel.limit) * room, row.cpu > panel.limit * 1.001)
        card.text(end - RATIOS, middle + 4, micro(row.cpu), anchor="end", bold=ours, size=12.5)
        if row.ratio is not None:
            times = f"{row.ratio.median:.2f}×" if row.ratio.median < 10 else f"{row.ratio.median:.0f}×"
            card.text(end, middle + 4, times, kind="word" if ours else "soft", anchor="end", bold=ours, size=12.5)
    if MEASURE in panel.rows:
        at = begin + panel.rows[MEASURE].cpu / panel.limit * room
        card.line(at, y + 15, at, y + 18 + LINE * len(names), "mark", dashes="3 3")


def _bar(card: Card, row: Row, x: float, middle: float, width: float, broken: bool) -> None:
    """User and system in their shares of the bar's length."""
    kind = kind_of(row.gateway)
    user = width * row.user / (row.user + row.system) if row.user + row.system else width
    card.box(x, middle - BAR / 2, width, BAR, f"{kind}-pale", 2)
    card.box(x, middle - BAR / 2, user, BAR, kind, 2)
    if broken:
        _break(card, x + (user / 2 if user > width / 2 else (user + width) / 2), middle - BAR / 2)


def _break(card: Card, x: float, y: float) -> None:
    for shift in (-2.5, 2.5):
        card.line(x + shift - 2.5, y + BAR + 2, x + shift + 2.5, y - 2, "ground", width=2.5)


def _foot(card: Card, record: Record, y: float) -> float:
    lacks: dict[str, list[str]] = {}
    for name, every in record.left_out().items():
        for what in every:
            lacks.setdefault(what, []).append(name)
    less = "; ".join(f"{what} by {', '.join(who)}" for what, who in lacks.items())
    said = [", ".join(record.versions().values()), f"Of the work is left out: {less}." if less else ""]
    for text in (text for paragraph in said for text in textwrap.wrap(paragraph, 175)):
        card.text(PADDING, y, text, kind="soft", size=12)
        y += 17
    return y
