"""A run as it might have been, for tests that need one."""

from __future__ import annotations

from typing import Any

from keystile.loadtest import histogram
from keystile.loadtest.objectives import Figures, judge, parse
from keystile.loadtest.records import FORMAT, AddressSum, CallSum, KeyShown, Record, Round, Window


def windows(count: int = 10, answered: int = 20, took: float = 0.004) -> tuple[Window, ...]:
    """So many seconds, each with some requests of which one was refused."""
    made = []
    for at in range(count):
        window = Window(
            float(at), 5, answered, {"scope-missing": 1}, offered=21.0, asked=(4, 2), served=(3, 1), busy=0.2
        )
        for number in range(answered):
            histogram.add(window.latency, took * (1 + number / 10))
        made.append(window)
    return tuple(made)


def record(p99: float = 0.01, **changed: Any) -> Record:
    """One run; its p99 is kept up to 50 ms."""
    figures = Figures({"p99": p99, "failed": 0.0}, 21.0, 21.0, True)
    verdicts = tuple(judge(parse(text), figures) for text in ("p99=50ms", "failed=0%", "throughput=90%", "cap=exact"))
    given: dict[str, Any] = {
        "format": FORMAT,
        "version": "0.1.0",
        "scenario": "steady",
        "what": "ten callers",
        "target": "http://127.0.0.1:8080",
        "began": "2026-11-28T05:00:00Z",
        "seconds": 10.0,
        "width": 1.0,
        "users": 10,
        "rate": 21.0,
        "cap": 20,
        "tools": "Locust 2",
        "machine": "2 cores",
        "windows": windows(),
        "calls": (CallSum("GET", "/v4/contacts", 200, 0, {100: 200}),),
        "addresses": (AddressSum("127.1.0.1", 200, 4, 3), AddressSum("127.1.0.2", 10, 2, None)),
        "rounds": (Round(0.5, 25, 20, 5, 0, held=True),),
        "keys": (KeyShown("all", "12345"), KeyShown("none", "")),
        "verdicts": verdicts,
        "notes": ("One remark.",),
    }
    return Record(**{**given, **changed})
