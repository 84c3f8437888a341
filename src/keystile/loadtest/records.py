"""What a run yielded: the JSON document beside a report, from which reports and comparisons are made.

Law: values and their JSON. A document that somebody hands us is checked as a whole before anything is done with it:
its texts may be anybody's, its numbers are finite and not negative. There is no secret in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from keystile.loadtest.objectives import Finite, Verdict

FORMAT: Final = 1
_LARGEST: Final = 64 * 1024 * 1024
_MOST: Final = 20_000

Count = Annotated[int, Field(ge=0, le=10**15)]
Text = Annotated[str, Field(max_length=2000)]
By = Annotated[dict[Text, Count], Field(max_length=200)]
Latency = Annotated[dict[Annotated[int, Field(ge=0, le=5000)], Count], Field(max_length=5000)]


class BadRecord(ValueError):
    """A document that is none of ours."""


@dataclass(slots=True)
class Window:
    """What ended within one stretch of time, ``at`` seconds from the beginning.

    ``answered``: as it should. ``refused``: refusals that were right, by problem type. ``wrong``: all else, by what
    it was. ``latency``: of the requests that are timed. ``offered``: requests that were to be made, where a rate was
    asked for. ``asked``: the most requests that an address had open at a moment, of the address with most and of the
    middle one; ``served``: the same as the API saw it, where the API is ours. ``busy``: the load tester's own share of
    one core.
    """

    at: Finite
    users: Count = 0
    answered: Count = 0
    refused: By = field(default_factory=dict)
    wrong: By = field(default_factory=dict)
    latency: Latency = field(default_factory=dict)
    offered: Finite = 0
    asked: tuple[Count, Count] = (0, 0)
    served: tuple[Count, Count] | None = None
    busy: Finite = 0

    @property
    def ended(self) -> int:
        """All requests that ended in it."""
        return self.answered + sum(self.refused.values()) + sum(self.wrong.values())


@dataclass(slots=True)
class CallSum:
    """One operation over the whole run."""

    method: Text
    template: Text
    requests: Count = 0
    wrong: Count = 0
    latency: Latency = field(default_factory=dict)


@dataclass(slots=True)
class AddressSum:
    """One address over the whole run: the most that it had open, and that the API saw of it (None: nobody saw)."""

    address: Text
    requests: Count = 0
    asked: Count = 0
    served: Count | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """All at once: how many were sent, let in, and refused for being too many; ``other``: everything else.

    ``held``: all had been sent, and the refused answered, before the first that was let in ended. Only then do the
    numbers say anything about the cap.
    """

    at: Finite
    sent: Count
    let_in: Count
    refused: Count
    other: Count
    held: bool


@dataclass(frozen=True, slots=True)
class KeyShown:
    """A key as people may see it."""

    name: Text
    hint: Annotated[str, Field(max_length=5)]


@dataclass(frozen=True, slots=True)
class Record:
    """One run. ``began``: ISO 8601 in UTC. ``seconds``: how long load was made. ``lost``: requests cut at the end."""

    format: Literal[1]
    version: Text
    scenario: Text
    what: Text
    target: Text
    began: Text
    seconds: Finite
    width: Annotated[float, Field(gt=0, allow_inf_nan=False, le=3600)]
    users: Count
    rate: Finite | None
    cap: Count
    tools: Text
    machine: Text
    windows: Annotated[tuple[Window, ...], Field(max_length=_MOST)]
    calls: Annotated[tuple[CallSum, ...], Field(max_length=_MOST)]
    addresses: Annotated[tuple[AddressSum, ...], Field(max_length=_MOST)]
    rounds: Annotated[tuple[Round, ...], Field(max_length=_MOST)]
    keys: Annotated[tuple[KeyShown, ...], Field(max_length=_MOST)]
    verdicts: Annotated[tuple[Verdict, ...], Field(max_length=50)]
    notes: Annotated[tuple[Text, ...], Field(max_length=100)]

    @property
    def passed(self) -> bool:
        """Whether every objective was kept."""
        return all(verdict.passed for verdict in self.verdicts)


_FORM: Final = TypeAdapter(Record)


def write(record: Record) -> str:
    """The document."""
    return _FORM.dump_json(record).decode() + "\n"


def load(file: Path) -> Record:
    """A run from its document. Raises BadRecord, OSError."""
    with file.open("rb") as opened:
        text = opened.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise BadRecord(f"{file}: too large for a load test's document")
    try:
        return _FORM.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise BadRecord(f"{file}: no load test's document of this version ({_plain(place)}: {first['msg']})") from None


def summed(windows: Iterable[Window], kind: Literal["refused", "wrong"]) -> tuple[tuple[str, int], ...]:
    """Requests by reason over these windows, most first."""
    found: dict[str, int] = {}
    for window in windows:
        for reason, count in (window.refused if kind == "refused" else window.wrong).items():
            found[reason] = found.get(reason, 0) + count
    return tuple(sorted(found.items(), key=lambda each: (-each[1], each[0])))


def _plain(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)[:100]
