"""The tables of a run in Markdown.

Law: text; figures come from ``table.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.cases import is_paced, title_of
from bench.table import Latency, Row, latency, rows
from bench.turn import Failure, Turn

HEAD = (
    "case",
    "gateway",
    "µs CPU/request (user + system)",
    "to HAProxy (lowest–highest)",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "MiB",
    "start ms",
)
LATENCY_HEAD = (
    "p50 ms",
    "p99 ms",
    "added p50 ms",
    "to HAProxy",
    "added p99 ms",
    "to HAProxy",
    "µs CPU/request",
    "sent late, p99 ms",
)


def _head(columns: Sequence[str]) -> str:
    return f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n"


def tables(turns: Sequence[Turn]) -> str:
    """The tables, one line a row; paced cases have a table of their own."""
    full = [row for row in rows(turns) if not is_paced(row.case)]
    paced = latency(turns)
    every = [_head(HEAD) + "".join(map(_line, full))] if full else []
    for rate in dict.fromkeys(row.rate for row in paced):
        head = _head((f"at {rate:,.0f} requests/s", *LATENCY_HEAD))
        every.append(head + "".join(_latency_line(row) for row in paced if row.rate == rate))
    return "\n".join(every)


def failures(every: Sequence[Failure]) -> str:
    """What failed, one line for each gateway, case and reason."""
    groups: dict[tuple[str, str, str], int] = {}
    for each in every:
        cell = each.gateway, each.case, each.reason.strip().partition("\n")[0][:200]
        groups[cell] = groups.get(cell, 0) + 1
    return "".join(f"Failed {n} ×: {name} in {case}: {reason}\n" for (name, case, reason), n in groups.items())


def _line(row: Row) -> str:
    return (
        f"| {title_of(row.case)} | {row.gateway} | {row.cpu:.1f} ({row.user:.1f} + {row.system:.1f}) "
        f"| {row.ratio or ''} | {row.rate:,.0f} | {row.p50:.2f} | {row.p99:.2f} | {row.memory:.0f} "
        f"| {'' if row.start is None else f'{row.start:,.0f}'} |\n"
    )


def _latency_line(row: Latency) -> str:
    more = [
        f"{'' if value is None else f'{value:.3f}'} | {ratio or ''}"
        for value, ratio in ((row.added_p50, row.ratio_p50), (row.added_p99, row.ratio_p99))
    ]
    return f"| {row.gateway} | {row.p50:.3f} | {row.p99:.3f} | {' | '.join(more)} | {row.cpu:.1f} | {row.late:.3f} |\n"
