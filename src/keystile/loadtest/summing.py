"""From what the load tester tells to the record of a run: sums, what the API saw, and the verdict.

Law: pure; the clock, the machine and the objectives are handed in. What was measured is never improved here: a
request that was lost has failed, and what nobody saw is unknown.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import floor
from statistics import median_low
from typing import Final

from keystile import __version__
from keystile.loadtest import histogram
from keystile.loadtest.api import LOOKS, Seen
from keystile.loadtest.objectives import Figures, Objective, judge
from keystile.loadtest.plan import Plan
from keystile.loadtest.records import FORMAT, AddressSum, KeyShown, Record, Round, Window, summed
from keystile.loadtest.scenarios import Scenario
from keystile.loadtest.told import Yield

_BUSY: Final = 0.9
"""Share of a core above which the load tester itself was at its limit."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is said about a run: the moment it began (ISO 8601), by which tools, on what machine."""

    began: str
    tools: str
    machine: str


def told_now(began: str) -> Told:
    """Of this machine, at this moment."""
    tools = f"Locust {version('locust')}, Python {platform.python_version()}"
    return Told(began, tools, f"{os.cpu_count()} cores, {platform.system()} {platform.release()}")


def record(
    scenario: Scenario,
    plan: Plan,
    yielded: Yield,
    seen: Seen | None,
    objectives: Sequence[Objective],
    notes: Sequence[str],
    told: Told,
) -> Record:
    """The record of a run."""
    windows = tuple(yielded.windows)
    addresses = tuple(yielded.addresses)
    if seen is not None:
        windows = _with_served(windows, seen, plan, yielded.begun)
        addresses = tuple(_with_peak(each, seen) for each in addresses)
    figures = figures_of(windows, addresses, yielded.rounds, plan)
    return Record(
        FORMAT,
        __version__,
        scenario.name,
        scenario.what,
        plan.target.url,
        told.began,
        plan.seconds,
        plan.width,
        plan.users,
        plan.rate,
        plan.cap,
        told.tools,
        told.machine,
        windows,
        tuple(each for each in yielded.calls if each.requests),
        addresses,
        tuple(yielded.rounds),
        tuple(KeyShown(key.name, key.hint) for key in plan.keys),
        tuple(judge(each, figures) for each in objectives),
        (*notes, *_remarks(windows, yielded)),
    )


def figures_of(
    windows: Sequence[Window], addresses: Sequence[AddressSum], rounds: Sequence[Round], plan: Plan
) -> Figures:
    """What the objectives are judged by. Shares are of all requests that ended."""
    latency = histogram.total(window.latency for window in windows)
    ended = sum(window.ended for window in windows)
    wrong = sum(count for _, count in summed(windows, "wrong"))
    allowed = sum(count for reason, count in summed(windows, "refused") if reason in plan.may)
    offered = sum(window.offered for window in windows)
    return Figures(
        {
            "p50": histogram.percentile(latency, 0.5),
            "p95": histogram.percentile(latency, 0.95),
            "p99": histogram.percentile(latency, 0.99),
            "failed": wrong / ended if ended else None,
            "refused": allowed / ended if ended else None,
        },
        throughput=(ended - wrong) / plan.seconds,
        offered=offered / plan.seconds if plan.rate else None,
        cap=kept(addresses, rounds, plan),
    )


def kept(addresses: Sequence[AddressSum], rounds: Sequence[Round], plan: Plan) -> bool | None:
    """Whether the cap was kept exactly; None where nothing shows it.

    The API never had more of an address in hand; and of all at once exactly as many were let in as may be.
    """
    served = [each.served for each in addresses if each.served]
    if served and max(served) > plan.cap:
        return False
    if not plan.rounds:
        return bool(served) or None
    judged = [each for each in rounds if each.held]
    if any(not is_exact(each, plan.cap) for each in judged):
        return False
    return True if judged and len(judged) == len(rounds) else None


def is_exact(one: Round, cap: int) -> bool:
    """Whether a round let in as many as may be, and refused the others for that reason."""
    let_in = min(one.sent, cap)
    return (one.let_in, one.refused, one.other) == (let_in, one.sent - let_in, 0)


def _with_served(windows: Sequence[Window], seen: Seen, plan: Plan, begun: float) -> tuple[Window, ...]:
    """Each window with the most that the API had in hand, of the address with most and of the middle one."""
    peaks = [
        _peaks(seen.counts.get(source, {}), len(windows), lambda look: (look / LOOKS - begun) / plan.width)
        for source in plan.sources
    ]
    return tuple(
        replace(window, served=(max(each[at] for each in peaks), median_low([each[at] for each in peaks])))
        for at, window in enumerate(windows)
    )


def _peaks(counts: Mapping[int, tuple[int, int]], windows: int, place: Callable[[int], float]) -> list[int]:
    """The most in flight within each window; what is in flight when one ends is so in the next."""
    found, left = [0] * windows, [0] * windows
    changed: set[int] = set()
    for look, (most, last) in sorted(counts.items()):
        at = max(0, min(windows - 1, floor(place(look))))
        found[at], left[at] = max(found[at], most), last
        changed.add(at)
    for at in range(1, windows):
        found[at] = max(found[at], left[at - 1])
        left[at] = left[at] if at in changed else left[at - 1]
    return found


def _with_peak(one: AddressSum, seen: Seen) -> AddressSum:
    return replace(one, served=max((most for most, _ in seen.counts.get(one.address, {}).values()), default=0))


def _remarks(windows: Sequence[Window], yielded: Yield) -> list[str]:
    """What has to be known to read the numbers."""
    notes = []
    busy = sum(window.busy > _BUSY for window in windows)
    if busy:
        notes.append(
            f"The load tester itself was at its limit in {busy} of {len(windows)} windows: "
            "times are then longer, and rates lower, than the gateway's own."
        )
    if yielded.lost:
        notes.append(f"{yielded.lost} requests were still under way at the end and were cut off; they are not counted.")
    unheld = sum(not each.held for each in yielded.rounds)
    if unheld:
        notes.append(f"{unheld} of {len(yielded.rounds)} rounds were not held open long enough to say anything.")
    return notes
