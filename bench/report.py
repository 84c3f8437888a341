"""``python -m bench.report FILE.json…``: the tables in Markdown and the picture, from results that are kept.

Law: reads results and writes words and one picture; measures nothing. Several files are read as one run, such as the
quick cases from one day and the slow gateways from another: ratios stay within a round of one file, so each file needs
HAProxy (and for latency the direct load) among its gateways.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import markdown, table
from bench.arguments import names
from bench.cases import CASES, SETS
from bench.plot import plot
from bench.record import Record, read
from bench.turn import STRAIGHT

NOISE = 0.1
"""Of a core, taken by strangers in a turn: above it the report says so."""
LATE = 0.25
"""Of a gateway's p99, by which the load itself was late (p99): above it the report says so."""


def words(record: Record) -> str:
    """What a run came to, in Markdown."""
    heads = [
        f"{str(run.get('date', ''))[:10]}, {run.get('machine', '')}; `{run.get('command', '')}`" for run in record.runs
    ]
    versions = record.versions()
    parts = ["\n".join(dict.fromkeys(heads)) + f"\n{', '.join(versions.values())}\n", markdown.tables(record.turns)]
    notes = [
        f"{versions.get(name, name)} leaves out: {', '.join(every)}.\n" for name, every in record.left_out().items()
    ]
    notes += [f"Skipped: {text}.\n" for text in record.skipped]
    notes += [
        f"The load for {row.gateway} was late by {row.late:.2f} ms (p99): much of its p99 is not its own.\n"
        for row in table.latency(record.turns)
        if row.late > LATE * row.p99
    ]
    noise = max((row.others for row in table.rows(record.turns)), default=0.0)
    if noise > NOISE:
        notes.append(f"Not a quiet machine: others used up to {noise:.0%} of a core in a turn.\n")
    return "\n".join([*parts, "".join(notes) + markdown.failures(record.failures)])


def draw(record: Record, file: Path) -> None:
    """The picture, as ``file``."""
    file.write_text(plot(record), encoding="utf-8")


def pick(record: Record, cases: Sequence[str] | None, gateways: Sequence[str] | None) -> None:
    """Leave in ``record`` only what is named; None names all. The order named is the order shown."""
    for wanted, of in ((cases, "case"), (gateways, "gateway")):
        if wanted is None:
            continue
        keep = [*wanted, *((STRAIGHT,) if of == "gateway" else ())]
        record.turns = sorted(
            (turn for turn in record.turns if getattr(turn, of) in keep), key=lambda turn: keep.index(getattr(turn, of))
        )
        record.failures = [failure for failure in record.failures if getattr(failure, of) in keep]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and draw the picture; 2 when a file is none of ours or holds nothing that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--cases", type=names(CASES, SETS), default=None, help="only these, in this order; also sets")
    parser.add_argument("--gateways", type=_list, default=None, help="only these, in this order")
    parser.add_argument(
        "--plot", type=Path, default=None, help="where the picture goes; beside the last file otherwise"
    )
    chosen = parser.parse_args(arguments)
    try:
        record = read(chosen.files)
    except ValueError as fault:
        print(f"bench.report: {fault}", file=sys.stderr)
        return 2
    pick(record, chosen.cases or _every_case(record), chosen.gateways)
    if not record.turns:
        print("bench.report: no turn of these cases and gateways", file=sys.stderr)
        return 2
    picture = chosen.plot or chosen.files[-1].with_suffix(".svg")
    draw(record, picture)
    print(words(record))
    print(f"The picture: {picture}")
    return 0


def _every_case(record: Record) -> list[str]:
    """All that were measured or tried, in the bench's own order; those of an older bench last."""
    tried = [*(turn.case for turn in record.turns), *(failure.case for failure in record.failures)]
    return list(dict.fromkeys([*CASES, *tried]))


def _list(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())
