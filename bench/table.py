"""What the turns say: medians and paired ratios.

Law: arithmetic; starts nothing and reads no clock. How it is written down: ``markdown.py``, ``plot.py``, ``record.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.turn import STRAIGHT, Turn

MEASURE = "haproxy"  # what every ratio is to


@dataclass(frozen=True, slots=True)
class Spread:
    """A median over the rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def spread(values: Sequence[float]) -> Spread | None:
    """None of no values."""
    return Spread(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one gateway under one case. CPU in microseconds per request, latency and start in milliseconds,
    memory in MiB; ``others``: the most that strangers took, in cores."""

    case: str
    gateway: str
    rounds: int
    cpu: float
    user: float
    system: float
    ratio: Spread | None
    rate: float
    p50: float
    p99: float
    memory: float
    others: float
    start: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one gateway at a fixed rate, in milliseconds from the scheduled moment; medians over the rounds.

    ``added``: less the same percentile of the same load straight to the backend in the same round; None without such.
    ``ratio``: what is added to what HAProxy adds, likewise; rounds in which HAProxy added nothing have none. ``late``:
    the worst round's p99 of how late the load itself was.
    """

    case: str
    gateway: str
    rounds: int
    rate: float
    p50: float
    p99: float
    added_p50: float | None
    added_p99: float | None
    ratio_p50: Spread | None
    ratio_p99: Spread | None
    cpu: float
    late: float


Cells = dict[tuple[str, str], list[Turn]]


def _cells(turns: Iterable[Turn]) -> Cells:
    """Turns by case and gateway, cases in the order in which they first ran, gateways in theirs."""
    groups: Cells = {}
    for turn in turns:
        groups.setdefault((turn.case, turn.gateway), []).append(turn)
    cases = {case: place for place, case in enumerate(dict.fromkeys(case for case, _ in groups))}
    gateways = {name: place for place, name in enumerate(_order(groups))}
    return {cell: groups[cell] for cell in sorted(groups, key=lambda cell: (cases[cell[0]], gateways[cell[1]]))}


def _order(cells: Iterable[tuple[str, str]]) -> list[str]:
    """Gateways as in the first case that most of them took part in; who did not take part there comes last."""
    by_case: dict[str, list[str]] = {}
    for case, name in cells:
        by_case.setdefault(case, []).append(name)
    fullest = max(by_case.values(), key=len, default=[])
    return list(dict.fromkeys([*fullest, *(name for names in by_case.values() for name in names)]))


def rows(turns: Sequence[Turn]) -> list[Row]:
    """One row for every case and gateway; nothing for the load that met no gateway."""
    cells = _cells(turns)
    return [
        _row(case, name, every, cells.get((case, MEASURE), []))
        for (case, name), every in cells.items()
        if name != STRAIGHT
    ]


def gateways(every: Iterable[Row]) -> list[str]:
    """Whose rows these are, in their order."""
    return _order((row.case, row.gateway) for row in every)


def _row(case: str, gateway: str, turns: list[Turn], measure: list[Turn]) -> Row:
    starts = [turn.start * 1000 for turn in turns if turn.start is not None]
    return Row(
        case=case,
        gateway=gateway,
        rounds=len(turns),
        cpu=median(turn.per_request for turn in turns),
        user=median(turn.cpu.user / turn.load.requests * 1e6 for turn in turns),
        system=median(turn.cpu.system / turn.load.requests * 1e6 for turn in turns),
        ratio=spread(paired(turns, measure)),
        rate=median(turn.rate for turn in turns),
        p50=median(turn.load.p50 for turn in turns) / 1000,
        p99=median(turn.load.p99 for turn in turns) / 1000,
        memory=median(turn.memory for turn in turns) / 2**20,
        others=max(turn.others / turn.load.seconds for turn in turns),
        start=median(starts) if starts else None,
    )


def paired(turns: Sequence[Turn], measure: Sequence[Turn]) -> list[float]:
    """CPU per request to HAProxy's of the same round: what a slow minute does to both drops out."""
    by_round = {turn.round: turn.per_request for turn in measure}
    return [turn.per_request / by_round[turn.round] for turn in turns if turn.round in by_round]


def latency(turns: Sequence[Turn]) -> list[Latency]:
    """One row for each gateway of a paced case and rate, the load without a gateway first."""
    rates = dict.fromkeys(turn.load.pace.rate for turn in turns if turn.load.pace is not None)
    return [row for rate in rates for row in _at(rate, turns)]


def _at(rate: float, turns: Sequence[Turn]) -> list[Latency]:
    cells = _cells(turn for turn in turns if turn.load.pace is not None and turn.load.pace.rate == rate)
    return [
        _latency(every, cells.get((case, STRAIGHT), []), cells.get((case, MEASURE), []))
        for (case, _), every in sorted(cells.items(), key=lambda cell: cell[0][1] != STRAIGHT)
    ]


def _latency(turns: list[Turn], straight: list[Turn], measure: list[Turn]) -> Latency:
    p50, p99 = (added(turns, straight, of) for of in (_p50, _p99))
    ratios = [
        spread([mine[number] / theirs[number] for number in mine if theirs.get(number, 0.0) > 0])
        for mine, theirs in ((p50, added(measure, straight, _p50)), (p99, added(measure, straight, _p99)))
    ]
    paces = [turn.load.pace for turn in turns if turn.load.pace is not None]
    return Latency(
        case=turns[0].case,
        gateway=turns[0].gateway,
        rounds=len(turns),
        rate=median(pace.rate for pace in paces),
        p50=median(map(_p50, turns)),
        p99=median(map(_p99, turns)),
        added_p50=median(p50.values()) if p50 else None,
        added_p99=median(p99.values()) if p99 else None,
        ratio_p50=ratios[0],
        ratio_p99=ratios[1],
        cpu=median(turn.per_request for turn in turns),
        late=max(pace.late_p99 for pace in paces) / 1000,
    )


def added(turns: Sequence[Turn], straight: Sequence[Turn], of: Callable[[Turn], float]) -> dict[int, float]:
    """By round: milliseconds more than straight to the backend in the same round; nothing for ``straight`` itself."""
    by_round = {turn.round: of(turn) for turn in straight}
    return {
        turn.round: of(turn) - by_round[turn.round]
        for turn in turns
        if turn.round in by_round and turn.gateway != STRAIGHT
    }


def _p50(turn: Turn) -> float:
    return turn.load.p50 / 1000


def _p99(turn: Turn) -> float:
    return turn.load.p99 / 1000
