"""The account of several hosts: every request in exactly one place, by rules that are rows of data; the rest is told.

Law: pure. ``sent = answered by rule + failed inside a killed host + refused by rule + remainder``, and the remainder
is a fault. Every slack is a constant here, with its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

from tests.chaos.crowd import Crowd
from tests.cluster.diary import CUT, NO_ANSWER, NO_CONNECTION, Diary, Entry, Spell, What

ANSWERED, INSIDE, REFUSED = "answered by rule", "failed inside a killed host", "refused by rule"
COLUMNS = (ANSWERED, INSIDE, REFUSED)
NOTICED = 1.0
"""Seconds within which a caller notices, on a busy machine, that its host has been killed or goes on."""
REACHED = 2.0
"""Seconds until a host that can reach the server again counts on it: half a second between attempts, and a beat."""
BELIEVED = 0.6
"""Seconds after units came free for which who has asked before may be refused: 0.2 patience, 0.1 trust, a beat."""
HEARD = 1.5
"""Seconds within which a host that reaches the database knows of a change: a look each second, and what it takes."""
SETTLED = 1.0
"""Seconds after which what was in flight under a higher limit has ended, and its units have gone back."""
LOOKED = 1.0
"""Seconds between two looks at the database: what is trusted is trusted from the last one on."""
OLD = 0.1
"""Seconds for which a host believes that no unit is free; in that time one may be on its way to another host."""


class Judge:
    """Asks the rules of each entry. ``trust``: seconds for which each host goes on without the database."""

    def __init__(self, diary: Diary, trust: dict[int, float] | None = None) -> None:
        self.diary = diary
        self._trust = trust or {}
        self._crowds = _crowds(diary)

    def most_held(self, entry: Entry, before: float = 0.0) -> int:
        """Of its address, at the moment of the request (or up to ``before`` seconds before it) when most were in hand.

        As far as callers can tell.
        """
        crowd = self._crowds.get(entry.address)
        return crowd.most(entry.sent - before, entry.ended) if crowd else 0

    def during(self, entry: Entry, spells: Iterable[Spell], after: float = 0.0) -> bool:
        """Whether it lived in one of these, or up to ``after`` seconds behind it."""
        return any(each.began <= entry.ended and entry.sent <= each.ended + after for each in spells)

    def dead_units(self, entry: Entry) -> bool:
        """Whether another host may have had units that it does not use: it is silent, or nothing is lent yet."""
        lease, told = self.diary.lease, entry.ended
        return any(
            each.began <= told and entry.sent <= min(each.ended, each.began + lease) + lease + BELIEVED
            for each in self.diary.spells
            if each.what in (What.KILLED, What.PAUSED, What.NO_SLOTS)
        )

    def may_not_know(self, host: int, since: float) -> float:
        """Until when a host may not know of what was changed at ``since`` elsewhere."""
        until = since + HEARD
        spells = self.diary.spells_of(host, What.NO_STORE, What.KILLED, What.PAUSED)
        for spell in sorted(spells, key=lambda each: each.began):
            if spell.began <= until and spell.ended + HEARD > until:
                until = spell.ended + HEARD
        return until

    def limited(self, entry: Entry) -> bool:
        """Whether its host had a lower limit then."""
        return entry.host in self.diary.lower and self.during(
            entry, self.diary.spells_of(entry.host, What.LIMITED), NOTICED
        )

    def state_fits(self, entry: Entry) -> bool:
        """Whether its key had this state for that host at some moment of the request."""
        steps = self.diary.steps[entry.key]
        if entry.sent <= self.may_not_know(entry.host, steps[0].made) and entry.outcome == "401":
            return True
        for at, step in enumerate(steps):
            after = steps[at + 1] if at + 1 < len(steps) else None
            until = inf if after is None else after.made
            if after is not None and after.host != entry.host:
                until = self.may_not_know(entry.host, after.made)
            if step.state == entry.outcome and step.asked <= entry.ended and entry.sent <= until:
                return True
        return False

    def untrusted(self, entry: Entry) -> bool:
        """Whether its host may have trusted its keys no longer: it had heard nothing of the database for so long."""
        trust = self._trust.get(entry.host, 300.0)
        spells = self.diary.spells_of(entry.host, What.NO_STORE)
        return any(each.began + trust - LOOKED <= entry.ended and entry.sent <= each.ended + HEARD for each in spells)


@dataclass(frozen=True, slots=True)
class Rule:
    """``outcomes`` and ``problems`` (empty: any) that it explains, if ``when``."""

    name: str
    column: str
    outcomes: tuple[str, ...]
    problems: tuple[str, ...]
    when: Callable[[Judge, Entry], bool]

    def explains(self, judge: Judge, entry: Entry) -> bool:
        """Whether it is the reason of the outcome."""
        fits = entry.outcome in self.outcomes and (not self.problems or entry.problem in self.problems)
        return fits and self.when(judge, entry)


def _of(*whats: What, after: float = 0.0) -> Callable[[Judge, Entry], bool]:
    return lambda judge, entry: judge.during(entry, judge.diary.spells_of(entry.host, *whats), after)


_BACK = (What.NO_SLOTS, What.PAUSED)
RULES = (
    Rule("200 with a key that lasts", ANSWERED, ("200",), (), lambda judge, entry: not entry.key),
    Rule(
        "200, 401 or 403 as its key was, as far as this host may have known",
        ANSWERED,
        ("200", "401", "403"),
        (),
        lambda judge, entry: bool(entry.key) and judge.state_fits(entry),
    ),
    Rule(
        "inside a killed host, or while it was not there",
        INSIDE,
        (CUT, NO_CONNECTION),
        (),
        _of(What.KILLED, after=NOTICED),
    ),
    Rule(
        "429 with 20 of its address in hand",
        REFUSED,
        ("429",),
        ("too-many-at-once",),
        lambda judge, entry: judge.most_held(entry) >= judge.diary.cap,
    ),
    Rule(
        "429 by an answer at most 0.1 s old, with 20 of its address in hand then",
        REFUSED,
        ("429",),
        ("too-many-at-once",),
        lambda judge, entry: judge.most_held(entry, OLD) >= judge.diary.cap,
    ),
    Rule(
        "429 of a host with a lower limit, with as many in hand",
        REFUSED,
        ("429",),
        ("too-many-at-once",),
        lambda judge, entry: judge.limited(entry) and judge.most_held(entry, OLD) >= judge.diary.lower[entry.host],
    ),
    Rule(
        "429 while units of a silent host were not free yet",
        REFUSED,
        ("429",),
        ("too-many-at-once",),
        Judge.dead_units,
    ),
    # What is refused is told so; of what is in flight some have a head on its way already, and are cut.
    Rule(
        "503: nobody lent to this host, and the rule is to refuse (or it was silent itself)",
        REFUSED,
        ("503", CUT),
        ("count-unavailable", ""),
        _of(*_BACK, after=REACHED),
    ),
    Rule("503: its keys are not trusted any more", REFUSED, ("503",), ("keys-unavailable",), Judge.untrusted),
)


@dataclass(slots=True)
class Account:
    """``by_rule``: how many of each phase each rule explains."""

    sent: int = 0
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    columns: Counter[str] = field(default_factory=Counter)
    remainder: list[str] = field(default_factory=list)
    highest: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left, and no request is in two places."""
        return not self.remainder and self.sent == sum(self.columns[column] for column in COLUMNS)


def judge(diary: Diary, trust: dict[int, float] | None = None) -> Account:
    """Put every request where it belongs, and look at what the API saw."""
    account, asked = Account(sent=len(diary.entries)), Judge(diary, trust)
    seen = Counter(each.number for each in diary.seen)
    for entry in diary.entries:
        rule = next((rule for rule in RULES if rule.explains(asked, entry)), None)
        if rule is None:
            account.remainder.append(told(asked, entry))
        else:
            account.by_rule[entry.phase, rule.name] += 1
            account.columns[rule.column] += 1
        times = seen[entry.number]
        if times > 1 or (times and entry.outcome in ("401", "403", "429")) or (not times and entry.outcome == "200"):
            account.remainder.append(f"the API saw it {times} times: {told(asked, entry)}")
    account.highest, over = most_in_hand(diary)
    account.remainder += over + most_of_lower(diary)
    return account


def told(judge: Judge, entry: Entry) -> str:
    """One request in words."""
    since = [
        f"{each.what.value} (host {'all' if each.host is None else each.host}), sent {entry.sent - each.began:+.2f} s"
        f" from its beginning and {entry.sent - each.ended:+.2f} s from its end"
        for each in judge.diary.spells
        if each.began - 2 <= entry.ended and entry.sent <= each.ended + 5
    ]
    return (
        f"request {entry.number} ({entry.phase}; {entry.crowd} clients of {entry.address}, host {entry.host}"
        f"{', key ' + entry.key if entry.key else ''}): {entry.outcome or NO_ANSWER} {entry.problem}"
        f" after {entry.ended - entry.sent:.3f} s; most in hand {judge.most_held(entry)}; {'; '.join(since) or 'calm'}"
    )


def most_in_hand(diary: Diary) -> tuple[int, list[str]]:
    """The most that the API had of one address, and where that was more than was allowed at that moment."""
    highest, over = 0, []
    steps = sorted(
        step for each in diary.seen for step in ((each.left, -1, each.address), (each.came, 1, each.address))
    )
    now: Counter[str] = Counter()
    for at, change, address in steps:
        now[address] += change
        highest = max(highest, now[address])
        if change > 0 and now[address] > allowed(diary, at):
            over.append(f"the API had {now[address]} of {address} in hand at {at:.3f}")
    return highest, over


def allowed(diary: Diary, at: float) -> int:
    """The cap; and as much again for each host that counted alone, until what it let in then has ended."""
    alone = [each for each in diary.spells if each.alone and each.began <= at <= each.ended + REACHED]
    everywhere = any(each.host is None for each in alone)
    hosts = diary.hosts if everywhere else 1 + len({each.host for each in alone})
    return diary.cap * hosts if alone else diary.cap


def most_of_lower(diary: Diary) -> list[str]:
    """Where hosts of a lower limit had more than that in hand together, once what was in flight before has ended."""
    host_of = {entry.number: entry.host for entry in diary.entries}
    spells = [each for each in diary.spells if each.what is What.LIMITED]
    if not spells:
        return []
    since, until = max(each.settled for each in spells) + SETTLED, min(each.lifted for each in spells)
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in diary.seen:
        if host_of.get(each.number) in diary.lower:
            spans[each.address].append((each.came, each.left))
    bound, found = min(diary.lower.values()), {name: Crowd(each).most(since, until) for name, each in spans.items()}
    return [f"hosts of a limit of {bound} had {most} of {name} in hand" for name, most in found.items() if most > bound]


def _crowds(diary: Diary) -> dict[str, Crowd]:
    """Only who was let in held a slot: from when it was sent until it was answered, or its end was noticed."""
    left = {each.number: each.left for each in diary.seen}
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for entry in diary.entries:
        if entry.number in left or entry.outcome == "200":
            spans[entry.address].append((entry.sent, max(min(entry.ended, 1e18), left.get(entry.number, 0.0))))
    return {address: Crowd(each) for address, each in spans.items()}
