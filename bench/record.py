"""A run on paper: everything that was measured, raw and summed up, as one file of JSON; several can be read as one.

Law: knows the file's form and nothing of how its figures came about. It is written whole after every turn, beside its
place and then moved there, so that a run that is cut off leaves a file that can be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import table
from bench.load import Pace, Result
from bench.processes import Cpu
from bench.turn import Failure, Turn


@dataclass(slots=True)
class Record:
    """One run, or several. ``runs``: what is to know about each (date, machine, command, versions and so on)."""

    runs: list[dict[str, Any]]
    turns: list[Turn] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def versions(self) -> dict[str, str]:
        """What each gateway calls itself; both names where runs differ."""
        return {name: " / ".join(every) for name, every in self._told("gateways").items()}

    def left_out(self) -> dict[str, list[str]]:
        """What of the work each gateway does not do, of those that leave anything out."""
        return {name: list(every[-1]) for name, every in self._told("left out").items()}

    def _told(self, what: str) -> dict[str, list[Any]]:
        """What the runs say of each gateway that took a turn, every different value once."""
        there = {turn.gateway for turn in self.turns} | {failure.gateway for failure in self.failures}
        told: dict[str, list[Any]] = {}
        for run in self.runs:
            for name, value in run.get(what, {}).items():
                if name in there and value not in told.setdefault(name, []):
                    told[name].append(value)
        return told

    def write(self, file: Path) -> None:
        """As JSON, in place of what was there."""
        said = {
            **self.runs[-1],
            "skipped": self.skipped,
            "failures": [asdict(failure) for failure in self.failures],
            "rows": [asdict(row) for row in table.rows(self.turns)],
            "latency": [asdict(row) for row in table.latency(self.turns)],
            "turns": [asdict(turn) for turn in self.turns],
        }
        beside = file.with_suffix(".part")
        beside.write_text(json.dumps(said, indent=1) + "\n")
        os.replace(beside, file)


def read(files: Sequence[Path]) -> Record:
    """Runs as one; ValueError, which names the file, for one that is no run.

    Rounds are counted on from file to file, so a ratio is only ever taken within a round of one run.
    """
    whole = Record([])
    for file in files:
        try:
            said = json.loads(file.read_text())
            turns = [_turn(each) for each in said.pop("turns")]
            failures = [Failure(**each) for each in said.pop("failures", ())]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as fault:
            raise ValueError(f"{file}: not a result of this bench ({fault!r})") from fault
        before = max([0, *(turn.round for turn in whole.turns), *(failure.round for failure in whole.failures)])
        whole.turns += [replace(turn, round=turn.round + before) for turn in turns]
        whole.failures += [replace(failure, round=failure.round + before) for failure in failures]
        whole.skipped += [text for text in said.pop("skipped", ()) if text not in whole.skipped]
        whole.runs.append({name: value for name, value in said.items() if name not in ("rows", "latency")})
    return whole


def _turn(said: dict[str, Any]) -> Turn:
    load = said["load"]
    pace = load.get("pace")
    return Turn(
        **{
            **said,
            "cpu": Cpu(**said["cpu"]),
            "shares": [(name, used) for name, used in said["shares"]],
            "load": Result(**{**load, "pace": Pace(**pace) if pace else None}),
        }
    )
