"""What the load tester tells while it works and at its end: lines of JSON.

Law: values and their lines. The load tester is a process of ours, but what it tells is checked like anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import TypeAdapter

from keystile.loadtest.records import AddressSum, CallSum, Round, Window


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run: ``at`` seconds from its beginning. Counts are of all that ended; ``p50``, ``p99``: seconds."""

    at: float
    ended: int
    refused: int
    wrong: int
    open: int
    p50: float | None
    p99: float | None
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Yield:
    """The whole run. ``begun``: by the monotonic clock of this machine. ``seen_by_locust``: requests, and failures.

    ``lost``: requests that the end of the run cut off. ``faults``: of our own, if any.
    """

    begun: float
    windows: list[Window]
    calls: list[CallSum]
    addresses: list[AddressSum]
    rounds: list[Round]
    lost: int
    seen_by_locust: tuple[int, int]
    faults: list[str]
    kind: Literal["yield"] = "yield"


_FORM: Final[TypeAdapter[Progress | Yield]] = TypeAdapter(Progress | Yield)


def write(said: Progress | Yield) -> bytes:
    """One line."""
    return _FORM.dump_json(said) + b"\n"


def read(line: bytes) -> Progress | Yield:
    """What a line says. Raises ValueError."""
    return _FORM.validate_json(line)
