"""The panel of added latency: a line for each gateway from its p50 to its p99, on a scale of decades.

Law: as ``plot.py``, of which it is a part: places on a card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.svg import WIDTH, Card
from bench.table import MEASURE, Latency, Spread
from bench.turn import STRAIGHT

LINE = 28.0
NAMES, FIGURES = 150.0, 330.0
DOT = 5.5
STEPS = (1, 2, 5)


def latency_panel(card: Card, rows: Sequence[Latency], y: float, padding: float, kinds: Mapping[str, str]) -> float:
    """Draw at ``y`` what the gateways add; returns where the panel ends. Nothing where nothing was added."""
    shown = [row for row in rows if row.added_p50 is not None and row.added_p99 is not None]
    if not shown:
        return y
    end = WIDTH - padding
    card.text(padding, y, f"Added latency at {rows[0].rate:,.0f} requests a second", size=14.5, bold=True)
    card.text(end, y, _words(rows), kind="soft", anchor="end")
    card.line(padding, y + 9, end, y + 9, "edge")
    top = y + 40
    _columns(card, end, top - 10)
    scale = Scale.of(shown, padding + NAMES, end - FIGURES)
    bottom = top + LINE * len(shown)
    for tick in scale.ticks():
        card.line(scale.at(tick), top - 4, scale.at(tick), bottom, "edge")
        card.text(scale.at(tick), bottom + 17, f"{tick:g} ms", kind="soft", size=12, anchor="middle")
    _measure(card, shown, scale, top - 4, bottom)
    for place, row in enumerate(shown):
        _row(card, row, scale, padding, end, top + LINE * (place + 0.5), kinds.get(row.gateway, "other"))
    return bottom + 56


class Scale:
    """Milliseconds to pixels, by their logarithm."""

    def __init__(self, low: float, high: float, left: float, right: float) -> None:
        self.low, self.high, self._left, self._right = low, high, left, right

    @classmethod
    def of(cls, rows: Sequence[Latency], left: float, right: float) -> Scale:
        """From the round number below the least to the one above the most; nothing added has no logarithm."""
        values = [value for row in rows for value in (row.added_p50, row.added_p99) if value and value > 0] or [0.1]
        low, high = _round_down(min(values)), _round_up(max(values))
        return cls(low, high if high > low else low * 10, left, right)

    def at(self, value: float) -> float:
        """The place of ``value``; of less than the scale begins with, its beginning."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self._left + share * (self._right - self._left)

    def ticks(self) -> list[float]:
        """1, 2 and 5 of each decade that the scale spans."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = (step * 10.0**power for power in range(first, last + 1) for step in STEPS)
        return [tick for tick in every if self.low * 0.999 <= tick <= self.high * 1.001]


def _round_down(value: float) -> float:
    decade: float = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return decade * max(step for step in STEPS if step * decade <= value * 1.000001)


def _round_up(value: float) -> float:
    decade: float = 10.0 ** math.floor(math.log10(value) - 1e-9)
    return decade * min(step for step in (*STEPS, 10) if step * decade >= value * 0.999999)


def _words(rows: Sequence[Latency]) -> str:
    late = f"requests left up to {max(row.late for row in rows):.2f} ms late (p99)"
    straight = [row for row in rows if row.gateway == STRAIGHT]
    alone = f"to the backend alone: p50 {straight[0].p50:.2f} ms, p99 {straight[0].p99:.2f} ms; " if straight else ""
    return f"open loop; {alone}{late}"


def _columns(card: Card, end: float, y: float) -> None:
    for right, name, hollow in ((end - 165, "p50", False), (end, "p99", True)):
        card.text(right, y, f"added {name}, to HAProxy", kind="soft", size=12, anchor="end")
        card.dot(right - 150, y - 4, 4.5, "mark", hollow=hollow)


def _measure(card: Card, rows: Sequence[Latency], scale: Scale, top: float, bottom: float) -> None:
    for row in rows:
        if row.gateway == MEASURE:
            for value in (row.added_p50, row.added_p99):
                at = scale.at(value or 0.0)
                card.line(at, top, at, bottom, "mark", dashes="3 3")


def _row(card: Card, row: Latency, scale: Scale, x: float, end: float, y: float, kind: str) -> None:
    ours = kind == "ours"
    card.text(x, y + 4, row.gateway, kind="word" if ours else "soft", bold=ours)
    p50, p99 = row.added_p50 or 0.0, row.added_p99 or 0.0
    card.line(scale.at(p50), y, scale.at(p99), y, f"{kind}-pale", width=4)
    card.dot(scale.at(p99), y, DOT - 1, kind, hollow=True)
    card.dot(scale.at(p50), y, DOT, kind)
    for right, value, ratio in ((end - 165, p50, row.ratio_p50), (end, p99, row.ratio_p99)):
        card.text(right - 60, y + 4, f"{value:.3f} ms", anchor="end", bold=ours)
        if ratio is not None:
            card.text(right, y + 4, _times(ratio), kind="word" if ours else "soft", anchor="end", bold=ours)


def _times(ratio: Spread) -> str:
    return f"{ratio.median:.2f}×" if ratio.median < 10 else f"{ratio.median:.0f}×"
