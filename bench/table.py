"""What the turns say: medians, paired ratios, a table in Markdown, a file in JSON.

Law: arithmetic and text; starts nothing and reads no clock but the date of the report.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from bench.cases import CASES
from bench.run import Turn

MEASURE = "haproxy"  # what every ratio is to


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one gateway under one case. CPU in microseconds per request, latency in milliseconds, memory MiB."""

    case: str
    gateway: str
    rounds: int
    cpu: float
    user: float
    system: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    rate: float
    p50: float
    p99: float
    memory: float
    others: float


def rows(turns: Sequence[Turn]) -> list[Row]:
    """One row for every case and gateway, in the order they first ran."""
    groups: dict[tuple[str, str], list[Turn]] = {}
    for turn in turns:
        groups.setdefault((turn.case, turn.gateway), []).append(turn)
    order = {case: place for place, case in enumerate(dict.fromkeys(turn.case for turn in turns))}
    cells = sorted(groups, key=lambda cell: order[cell[0]])
    return [_row(case, gateway, groups[case, gateway], groups.get((case, MEASURE), [])) for case, gateway in cells]


def _row(case: str, gateway: str, turns: list[Turn], measure: list[Turn]) -> Row:
    ratios = paired(turns, measure)
    return Row(
        case=case,
        gateway=gateway,
        rounds=len(turns),
        cpu=median(turn.per_request for turn in turns),
        user=median(turn.cpu.user / turn.load.requests * 1e6 for turn in turns),
        system=median(turn.cpu.system / turn.load.requests * 1e6 for turn in turns),
        ratio=median(ratios) if ratios else None,
        ratio_low=min(ratios, default=None),
        ratio_high=max(ratios, default=None),
        rate=median(turn.rate for turn in turns),
        p50=median(turn.load.p50 for turn in turns) / 1000,
        p99=median(turn.load.p99 for turn in turns) / 1000,
        memory=median(turn.memory for turn in turns) / 2**20,
        others=max(turn.others / turn.load.seconds for turn in turns),
    )


def paired(turns: Sequence[Turn], measure: Sequence[Turn]) -> list[float]:
    """CPU per request to HAProxy's of the same round: what a slow minute does to both drops out."""
    by_round = {turn.round: turn.per_request for turn in measure}
    return [turn.per_request / by_round[turn.round] for turn in turns if turn.round in by_round]


HEAD = """\
| case | gateway | µs CPU/request (user + system) | to HAProxy (lowest–highest) | requests/s | p50 ms | p99 ms | MiB |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def markdown(table: Sequence[Row]) -> str:
    """The table, one line a row."""
    return HEAD + "".join(_line(row) for row in table)


def _line(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} ({row.ratio_low:.2f}–{row.ratio_high:.2f})"
    return (
        f"| {CASES[row.case].title} | {row.gateway} | {row.cpu:.1f} ({row.user:.1f} + {row.system:.1f}) | {ratio} "
        f"| {row.rate:,.0f} | {row.p50:.2f} | {row.p99:.2f} | {row.memory:.0f} |\n"
    )


def write_json(file: Path, about: dict[str, object], turns: Sequence[Turn], table: Sequence[Row]) -> None:
    """Everything measured, raw and summed up."""
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        **about,
        "rows": [asdict(row) for row in table],
        "turns": [asdict(turn) for turn in turns],
    }
    file.write_text(json.dumps(said, indent=1) + "\n")
