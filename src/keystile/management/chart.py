"""A small chart of requests over time, as figures and the paths that draw them.

Law: pure functions from sums to geometry and words; no HTML (a template writes the elements), no clock, no store.
Nothing is ever drawn outside the box. The scale begins at zero and its top is written on it; whatever is more than
nothing is drawn at least one unit high, so that a single refusal can be seen beside a million requests.

Everything stands in UTC: hours are counted since 1970, and a day begins at 00:00 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

HOURS_A_DAY: Final = 24
WIDTH, HEIGHT = 400, 132
"""The view box, in units of its own."""
LEFT, RIGHT, TOP, BOTTOM = 44, 396, 14, 112
"""Where bars may stand."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LABELS: Final = 8
"""Most labels below the chart."""
_LABEL_WIDTH: Final = 44
"""Units that a label needs to its right."""
Sum = tuple[str, int, str, int]
"""Id of the key, hour since 1970, why it was refused (empty: it was not), requests."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened from an hour on, for as long as the series says."""

    hour: int
    answered: int
    refused: int

    @property
    def requests(self) -> int:
        """All of them."""
        return self.answered + self.refused


@dataclass(frozen=True, slots=True)
class Series:
    """Steps of ``width`` hours each without gaps, oldest first, and all refusals by reason, most first."""

    steps: tuple[Step, ...]
    width: int
    reasons: tuple[tuple[str, int], ...]

    @property
    def answered(self) -> int:
        """Requests that went to the API."""
        return sum(step.answered for step in self.steps)

    @property
    def refused(self) -> int:
        """Requests that the gateway refused."""
        return sum(step.refused for step in self.steps)

    @property
    def requests(self) -> int:
        """All of them."""
        return self.answered + self.refused

    @property
    def busiest(self) -> Step | None:
        """The step with most requests, the first of several; None when there were none."""
        step = max(self.steps, key=lambda one: one.requests, default=None)
        return step if step is not None and step.requests else None


def window(now_hour: int, days: int) -> range:
    """The hours of so many days: whole days in UTC, today with what is still to come; or the last 24 hours."""
    if days == 1:
        return range(now_hour + 1 - HOURS_A_DAY, now_hour + 1)
    end = (now_hour // HOURS_A_DAY + 1) * HOURS_A_DAY
    return range(end - days * HOURS_A_DAY, end)


def series(sums: Iterable[Sum], hours: range, width: int) -> Series:
    """Put sums into steps of ``width`` hours, which must fill the window; sums of other hours are left out.

    Raises ValueError where steps do not fill it.
    """
    if width < 1 or len(hours) % width:
        raise ValueError(f"steps of {width} hours do not fill {len(hours)}")
    answered, refused = [0] * (len(hours) // width), [0] * (len(hours) // width)
    reasons: dict[str, int] = {}
    for _, hour, why, requests in sums:
        if hour not in hours or requests <= 0:
            continue
        (refused if why else answered)[(hour - hours.start) // width] += requests
        if why:
            reasons[why] = reasons.get(why, 0) + requests
    steps = tuple(Step(hours.start + at * width, *both) for at, both in enumerate(zip(answered, refused, strict=True)))
    by_count = sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))
    return Series(steps, width, tuple(by_count))


# -- drawing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line across the chart at ``y`` and the number it stands for."""

    y: int
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A day below the chart, from ``x`` on."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws: paths (empty where there is nothing), lines and marks, within the view box."""

    answered: str
    refused: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    top: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def draw(figures: Series) -> Chart:
    """The chart of a series: refusals stand upon what was answered."""
    top = scale(max((step.requests for step in figures.steps), default=0))
    bars = [_heights(step, top) for step in figures.steps]
    return Chart(
        answered=_skyline([(0, answered) for answered, _ in bars]),
        refused=_skyline([(answered, answered + refused) for answered, refused in bars]),
        lines=tuple(Line(_y(round(part * _tall() / 2)), short(part * top // 2)) for part in (0, 1, 2)),
        marks=_marks(figures),
        top=top,
    )


def scale(most: int) -> int:
    """The top of the scale: the smallest of 2, 4, 6, 8, 10, 20, 40 … that is no less. Its half is a whole number."""
    top = 10
    while top < most:
        top *= 10
    return next(each for each in (top // 5, top * 2 // 5, top * 3 // 5, top * 4 // 5, top) if each >= most)


def short(number: int) -> str:
    """A number in few characters: 400, 20k, 1M, 2.5G; never rounded but for the numbers that nobody writes out."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return str(number)


def day_text(hour: int) -> str:
    """The day of an hour: ``23 Nov``."""
    at = _utc(hour)
    return f"{at.day} {_MONTHS[at.month - 1]}"


def hour_text(hour: int) -> str:
    """Day and time of an hour: ``23 Nov 06:00``."""
    return f"{day_text(hour)} {_utc(hour):%H:%M}"


def step_text(width: int) -> str:
    """What a step is called: "hour", "6 hours", "day"."""
    return {1: "hour", HOURS_A_DAY: "day"}.get(width, f"{width} hours")


def _heights(step: Step, top: int) -> tuple[int, int]:
    """Units for answered and refused, at least one for what is not nothing.

    Together never more than the box: where one of them is lifted to one unit, the other is at least that far below.
    """
    answered, refused = (max(1, count * _tall() // top) if count else 0 for count in (step.answered, step.refused))
    return answered, refused


def _skyline(bars: Sequence[tuple[int, int]]) -> str:
    """One closed outline for each stretch of bars that are not empty; (from, to) in units above zero."""
    parts: list[str] = []
    at = 0
    while at < len(bars):
        end = at
        while end < len(bars) and bars[end][0] < bars[end][1]:
            end += 1
        if end > at:
            parts.append(_outline(bars, at, end))
        at = max(end, at + 1)
    return "".join(parts)


def _outline(bars: Sequence[tuple[int, int]], first: int, last: int) -> str:
    """Along the tops to the right, back along the bottoms; a run of equal heights is one stroke."""
    path = [f"M{_x(first, len(bars))} {_y(bars[first][1])}"]
    for at in range(first, last):
        if at + 1 == last or bars[at + 1][1] != bars[at][1]:
            path.append(f"H{_x(at + 1, len(bars))}")
            path.append(f"V{_y(bars[at + 1][1] if at + 1 < last else bars[at][0])}")
    for at in reversed(range(first, last)):
        if at == first or bars[at - 1][0] != bars[at][0]:
            path.append(f"H{_x(at, len(bars))}")
            if at > first:
                path.append(f"V{_y(bars[at - 1][0])}")
    return "".join(path) + "Z"


def _marks(figures: Series) -> tuple[Mark, ...]:
    """Days where the window has several, else every sixth hour."""
    count, width = len(figures.steps), figures.width
    every = HOURS_A_DAY if count * width > HOURS_A_DAY else 6
    starts = [at for at in range(count) if figures.steps[at].hour % every < width]
    starts = starts[:: max(1, -(-len(starts) // _LABELS))]
    marks = (Mark(float(_x(at, count)), _mark_text(figures.steps[at].hour, every)) for at in starts)
    return tuple(mark for mark in marks if mark.x + _LABEL_WIDTH <= WIDTH)


def _mark_text(hour: int, every: int) -> str:
    """The day at its beginning, else the time."""
    return day_text(hour) if every == HOURS_A_DAY or hour % HOURS_A_DAY < 1 else f"{_utc(hour):%H:%M}"


def _tall() -> int:
    return BOTTOM - TOP


def _x(at: int, count: int) -> str:
    """Where bar ``at`` of ``count`` begins, to a tenth of a unit."""
    return f"{LEFT + (RIGHT - LEFT) * at / count:.1f}".removesuffix(".0")


def _y(above: int) -> int:
    return BOTTOM - above


def _utc(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, UTC)

