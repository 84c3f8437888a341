"""The plots of a report, from the windows of a run (or of two, one upon the other).

Law: which figures are shown together, under which names; how lines are drawn stands in ``plot.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keystile.loadtest import histogram
from keystile.loadtest.objectives import duration
from keystile.loadtest.plot import Plot, Series, Values, draw
from keystile.loadtest.records import Record, Window, summed
from keystile.management.chart import short

_MICROSECONDS: Final = 1_000_000
_REASONS: Final = 4
"""Reasons with a line of their own; the others are in the table."""
_SHARES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot: its title, what it says in words, and the same numbers as a table (none for runs of other widths)."""

    id: str
    title: str
    says: str
    plot: Plot
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Scale:
    """How values are written: on the axis, and in words."""

    label: Callable[[int], str]
    say: Callable[[float], str]


_NUMBERS: Final = _Scale(short, lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}")
_TIMES: Final = _Scale(
    lambda micros: duration(micros / _MICROSECONDS) if micros else "0", lambda micros: duration(micros / _MICROSECONDS)
)


def of_run(one: Record) -> tuple[Chart, ...]:
    """Throughput, times, refusals, requests in flight, and the load itself."""
    charts = [_throughput(one), _times(one), _refusals(one), _in_flight(one), _load(one)]
    return tuple(each for each in charts if each is not None)


def of_two(before: Record, after: Record) -> tuple[Chart, ...]:
    """Throughput and times of two runs, one upon the other."""
    named = (("before", 5, before), ("after", 1, after))
    seconds = max(before.seconds, after.seconds)
    rates = [Series(name, look, _ended(one), one.width) for name, look, one in named]
    charts = [_chart("throughput", "Requests a second", rates, seconds)]
    for share_name, share in _SHARES:
        times = [Series(name, look, _percentiles(one, share), one.width) for name, look, one in named]
        if any(value is not None for each in times for value in each.values):
            charts.append(_chart(share_name, f"Time of a request, {share_name}", times, seconds, scale=_TIMES))
    return tuple(charts)


def _throughput(one: Record) -> Chart:
    def rate(name: str, look: int, count: Callable[[Window], float]) -> Series:
        return Series(name, look, [count(window) / one.width for window in one.windows], one.width)

    series = [
        rate("answered", 1, lambda window: window.answered),
        rate("refused, rightly", 3, lambda window: sum(window.refused.values())),
        rate("failed", 4, lambda window: sum(window.wrong.values())),
    ]
    if one.rate:
        series.append(rate("asked for", 5, lambda window: window.offered))
    return _chart("throughput", "Requests a second", [each for each in series if any(each.values)], one.seconds)


def _times(one: Record) -> Chart | None:
    looks = zip(_SHARES, (1, 2, 3), strict=True)
    series = [Series(name, look, _percentiles(one, share), one.width) for (name, share), look in looks]
    if not any(window.latency for window in one.windows):
        return None  # requests that are held open on purpose are not timed
    limit = next((each.objective.limit for each in one.verdicts if each.objective.name == "p99"), None)
    named = None if limit is None else (limit * _MICROSECONDS, f"p99 objective: {duration(limit)}")
    return _chart("times", "Time of a request", series, one.seconds, named, scale=_TIMES)


def _refusals(one: Record) -> Chart | None:
    """By reason; none where nothing was refused."""
    reasons = summed(one.windows, "refused")[:_REASONS]
    series = [
        Series(reason, look, [window.refused.get(reason, 0) / one.width for window in one.windows], one.width)
        for look, (reason, _) in zip((1, 2, 3, 5), reasons, strict=False)
    ]
    return _chart("refusals", "Refusals a second, by reason", series, one.seconds) if series else None


def _in_flight(one: Record) -> Chart:
    """The most that an address had in flight: as callers see it, and as the API does where it is ours."""
    windows = one.windows
    series = [Series("sent, from the address with most", 2, [float(window.asked[0]) for window in windows], one.width)]
    if len(one.addresses) > 1:
        middle = [float(window.asked[1]) for window in windows]
        series.append(Series("sent, from the middle address", 5, middle, one.width))
    if any(window.served for window in windows):
        served = [None if window.served is None else float(window.served[0]) for window in windows]
        series.append(Series("let in, as the API saw it", 1, served, one.width))
    limit = (float(one.cap), f"cap: {one.cap}")
    return _chart("in-flight", "In flight for one address", series, one.seconds, limit, always=True)


def _load(one: Record) -> Chart:
    users = Series("callers", 1, [float(window.users) for window in one.windows], one.width)
    busy = Series("load tester, % of a core", 3, [window.busy * 100 for window in one.windows], one.width)
    return _chart("load", "The load itself", [users, busy], one.seconds)


def _chart(
    id: str,
    title: str,
    series: Sequence[Series],
    seconds: float,
    limit: tuple[float, str] | None = None,
    *,
    scale: _Scale = _NUMBERS,
    always: bool = False,
) -> Chart:
    plot = draw(series, seconds, limit, label=scale.label, always=always)
    says = "; ".join(_says(each, scale) for each in series)
    far = (f"{limit[1]}, far above these lines",) if limit and plot.limit is None else ()
    if len({each.width for each in series}) > 1:
        return Chart(id, title, says, plot, notes=far)
    return Chart(id, title, says, plot, ("from", *(each.name for each in series)), _rows(series, scale), far)


def _says(series: Series, scale: _Scale) -> str:
    known = [value for value in series.values if value is not None]
    return f"{series.name}: at most {scale.say(max(known))}" if known else f"{series.name}: no figures"


def _rows(series: Sequence[Series], scale: _Scale) -> tuple[tuple[str, ...], ...]:
    count = max((len(each.values) for each in series), default=0)

    def cell(values: Values, at: int) -> str:
        value = values[at] if at < len(values) else None
        return "–" if value is None else scale.say(value)

    return tuple((f"{at * series[0].width:.4g} s", *(cell(each.values, at) for each in series)) for at in range(count))


def _ended(one: Record) -> Values:
    return [window.ended / one.width for window in one.windows]


def _percentiles(one: Record, share: float) -> Values:
    """Microseconds; None for a window in which nothing was timed."""
    found = [histogram.percentile(window.latency, share) for window in one.windows]
    return [None if value is None else value * _MICROSECONDS for value in found]
