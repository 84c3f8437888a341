"""From a scenario and what somebody asked for to a plan, and what has to be said about it beforehand.

Law: decides, and starts nothing. What cannot be done as the row says is done as well as it can be, and said plainly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from keystile.config.model import Operation
from keystile.loadtest import api, target
from keystile.loadtest.calls import Call, calls_of, key_only, slowly
from keystile.loadtest.credentials import Credential, strangers
from keystile.loadtest.objectives import Objective
from keystile.loadtest.plan import Plan, Target
from keystile.loadtest.scenarios import TOO_MANY, Scenario

HELD_MS: Final = 1500
"""How long the demonstration's API holds a request."""
_ROUND: Final = 2.1
"""Seconds that one round of requests held open takes at least, with its pause."""
_WINDOWS: Final = 60
"""About so many windows a run."""
_WIDTHS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class CannotRun(ValueError):
    """The scenario cannot be run here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for beside the scenario; None: as the row says. ``held``: a path that takes its time."""

    users: int | None = None
    rate: float | None = None
    seconds: float | None = None
    writes: bool = False
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """What is called: a target with these operations and keys. ``is_ours``: the demonstration's, with our API."""

    target: Target
    operations: Sequence[Operation]
    keys: Sequence[Credential]
    key_field: str
    cap: int
    is_ours: bool


def adjusted(scenario: Scenario, wishes: Wishes) -> Scenario:
    """The scenario with users, rate and seconds as they were asked for."""
    return replace(
        scenario,
        users=wishes.users or scenario.users,
        rate=scenario.rate if wishes.rate is None else wishes.rate,
        seconds=wishes.seconds or scenario.seconds,
    )


def prepare(scenario: Scenario, wishes: Wishes, site: Site) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a run, and remarks for the report. Raises CannotRun."""
    chosen = adjusted(scenario, wishes)
    sources = target.sources(site.target, chosen.addresses)
    notes = [*_about_addresses(chosen, sources), *_about_writes(chosen, wishes, site)]
    may = chosen.may
    if TOO_MANY not in may and (crowd := ceil(chosen.users / max(1, len(sources)))) > site.cap:
        may = (*may, TOO_MANY)
        notes.append(
            f"{crowd} callers share an address where {site.cap} may be in flight: refusals for that are no fault."
        )
    rounds = max(1, int(chosen.seconds / _ROUND)) if chosen.mix == "held" else 0
    keys = tuple(site.keys) if site.is_ours else (*site.keys, *strangers(chosen.keys))
    plan = Plan(
        site.target,
        site.key_field,
        _calls(chosen, wishes, site),
        keys,
        chosen.shape,
        chosen.users,
        chosen.seconds,
        None if rounds else chosen.rate,
        site.cap,
        width(chosen.seconds),
        sources,
        may,
        chosen.slow_share,
        rounds,
    )
    return plan, tuple(notes)


def visible(
    objectives: Sequence[Objective], asked_for: Sequence[str], plan: Plan, site: Site
) -> tuple[tuple[Objective, ...], tuple[str, ...]]:
    """The objectives that a run can show anything about, and a remark; one that was asked for stays in any case."""
    is_seen = site.is_ours or plan.rounds or any(text.startswith("cap=") for text in asked_for)
    if is_seen or not any(each.name == "cap" for each in objectives):
        return tuple(objectives), ()
    note = (
        "The cap is not judged: only an API of our own sees how many are let in at once. The scenario at-once shows it."
    )
    return tuple(each for each in objectives if each.name != "cap"), (note,)


def width(seconds: float) -> float:
    """Seconds of one window, so that a run has about sixty."""
    return next((each for each in _WIDTHS if seconds / each <= _WINDOWS), _WIDTHS[-1])


def _calls(scenario: Scenario, wishes: Wishes, site: Site) -> tuple[Call, ...]:
    if scenario.mix == "held":
        return (key_only(_held_path(wishes, site)),)
    calls = calls_of(site.operations, scenario.mix, writes=site.is_ours or wishes.writes)
    if not calls:
        raise CannotRun("the route table has no operation that this scenario could call")
    if not scenario.slow_share:
        return calls
    if site.is_ours:
        drip = key_only(api.UPLOAD, "POST", "drip")
        return (*calls, drip, key_only(f"{api.LARGE}?kib=96", manner="sip"))
    return (*calls, *slowly(calls))


def _held_path(wishes: Wishes, site: Site) -> str:
    if wishes.held:
        return wishes.held
    if site.is_ours:
        return f"{api.HELD}?ms={HELD_MS}"
    raise CannotRun("this scenario needs a path that takes a second or longer; name one with --held-path")


def _about_addresses(scenario: Scenario, sources: Sequence[str]) -> list[str]:
    if sources or scenario.addresses == 1:
        return []
    return [f"All requests come from one address, not from {scenario.addresses}: the target is not on 127.0.0.0/8."]


def _about_writes(scenario: Scenario, wishes: Wishes, site: Site) -> list[str]:
    if site.is_ours or wishes.writes or scenario.mix != "operations":
        return []
    return ["Only operations that read are called; --writes adds those that change data."]
