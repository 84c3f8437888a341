"""Lines over the time of a run, as figures and the paths that draw them.

Law: pure functions from numbers to geometry and words; no HTML. Nothing is ever drawn outside the box, the scale begins
at zero, and where there is no figure there is no line. Box, scale and short numbers are those of the page's charts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeAlias

from keystile.management.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, scale, short

Values: TypeAlias = Sequence[float | None]
_ROOM: Final = 4.0
"""A limit is drawn where it is at most so many times the largest value; else the lines would lie on the ground."""
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300)
_MARKS: Final = 6


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, the look that a style sheet gives it (1 to 5), and a value for each ``width`` seconds."""

    name: str
    look: int
    values: Values
    width: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line across at ``y``, and what it stands for."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment below the chart."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Path:
    """A drawn series."""

    name: str
    look: int
    d: str


@dataclass(frozen=True, slots=True)
class Plot:
    """What a template draws, within the view box; ``limit`` is None where there is none or it lies far above."""

    paths: tuple[Path, ...]
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    limit: Line | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def draw(
    series: Sequence[Series],
    seconds: float,
    limit: tuple[float, str] | None = None,
    *,
    label: Callable[[int], str] = short,
    always: bool = False,
) -> Plot:
    """A plot of values that are whole units or more (microseconds, requests).

    ``seconds``: how long the run was. ``limit``: a value and its name; drawn ``always``, or where it is near.
    """
    most = max((value for each in series for value in each.values if value is not None), default=0.0)
    near = limit is not None and (always or limit[0] <= _ROOM * most)
    top = scale(ceil(max(most, limit[0] if near and limit else 0.0)))
    seconds = max([seconds, *(len(each.values) * each.width for each in series)])
    return Plot(
        tuple(Path(each.name, each.look, _path(each, top, seconds)) for each in series),
        tuple(Line(_y(top * part / 2, top), label(top * part // 2)) for part in (0, 1, 2)),
        tuple(_marks(seconds)),
        Line(_y(limit[0], top), limit[1]) if near and limit else None,
    )


def _path(series: Series, top: int, seconds: float) -> str:
    """A stroke for each stretch of values; one that stands alone is a short dash."""
    strokes = []
    for first, stretch in _stretches(series.values):
        middles = ((first + at + 0.5) * series.width for at in range(len(stretch)))
        points = [(_x(middle, seconds), _y(value, top)) for middle, value in zip(middles, stretch, strict=True)]
        if len(points) == 1:
            (x, y) = points[0]
            points = [(max(LEFT, x - 2), y), (min(RIGHT, x + 2), y)]
        strokes.append("M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points))
    return "".join(strokes)


def _stretches(values: Values) -> Iterator[tuple[int, list[float]]]:
    """Every run of values without a gap, with the place where it begins."""
    run: list[float] = []
    for at, value in enumerate(values):
        if value is not None:
            run.append(value)
        elif run:
            yield at - len(run), run
            run = []
    if run:
        yield len(values) - len(run), run


def _marks(seconds: float) -> Iterator[Mark]:
    step = next((each for each in _STEPS if seconds / each <= _MARKS), _STEPS[-1])
    for at in range(0, int(seconds) + 1, step):
        yield Mark(round(_x(at, seconds), 1), f"{at} s")


def _x(at: float, seconds: float) -> float:
    return LEFT + (RIGHT - LEFT) * at / seconds if seconds else float(LEFT)


def _y(value: float, top: int) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * min(value, top) / top, 1)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
