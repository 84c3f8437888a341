"""The account: every request in exactly one place, and every promise of the gateway compared with what was seen.

Law: pure. What no rule explains is told one by one, with what went on around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.facts import NO_SLOT, Facts
from tests.chaos.kinds import CALM, CUT, LEFT, LONE, NO_ANSWER, NO_CONNECTION, SHAKY
from tests.chaos.ledger import Entry, Ledger
from tests.chaos.rules import CAP, RULES, Column, Rule
from tests.chaos.seen import Records, Seen, in_flight
from tests.chaos.story import Story

SERVERS = {CALM: ("calm",), SHAKY: ("shaky1", "shaky2"), LONE: ("shaky2",), "": ()}
"""The servers behind each upstream."""
UNHEARD = (CUT, LEFT, NO_ANSWER, NO_CONNECTION)
"""Outcomes that are not an answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that no rule explains; ``began`` and ``ended`` are of the request, or the moment."""

    text: str
    began: float = 0.0
    ended: float = 0.0


@dataclass(slots=True)
class Account:
    """``by_rule`` counts requests by kind and rule; ``remainder``: requests in no count, and promises not kept."""

    sent: int = 0
    by_rule: Counter[tuple[str, Rule]] = field(default_factory=Counter)
    by_phase: Counter[tuple[str, Rule]] = field(default_factory=Counter)
    unexplained: int = 0
    remainder: list[Fault] = field(default_factory=list)
    highest: int = 0

    def column(self, column: Column) -> int:
        """How many requests stand there."""
        return sum(number for (_, rule), number in self.by_rule.items() if rule.column is column)

    @property
    def is_whole(self) -> bool:
        """Sent = answered by rule + failed inside a killed process + refused by rule + what is told one by one."""
        return self.sent == sum(map(self.column, Column)) + self.unexplained


def judge(ledger: Ledger, records: Records, story: Story, facts: Facts) -> Account:
    """Put every request where it belongs, and look at all that was promised."""
    account = Account(sent=len(ledger.entries))
    for entry in ledger.entries:
        rule = next((rule for rule in RULES if rule.explains(entry, facts)), None)
        if rule is None:
            account.unexplained += 1
            account.remainder.append(_unexplained(entry, facts))
        else:
            account.by_rule[entry.kind.name, rule] += 1
            account.by_phase[entry.phase, rule] += 1
        account.remainder += _of_servers(entry, facts)
    account.remainder += [Fault(f"ended twice: {text}") for text in ledger.twice]
    account.remainder += _strangers(ledger, records.seen)
    account.remainder += [Fault("a server got bytes that belong to no request", at, at) for at in records.surplus]
    most = in_flight(records.seen)
    account.highest = max((number for number, _ in most.values()), default=0)
    account.remainder += _over(most)
    return account


def _unexplained(entry: Entry, facts: Facts) -> Fault:
    relay = facts.relay_of(entry).decode() or "not known"
    servers = ", ".join(f"{each.server} at {each.began:.3f}" for each in facts.seen.get(entry.number, ())) or "none"
    what = f"{entry.outcome or NO_ANSWER}{f' ({entry.problem})' if entry.problem else ''}"
    more = f"; {entry.note}" if entry.note else ""
    held = f"; most of its address held: {facts.most_held(entry)}" if entry.outcome == "429" else ""
    text = (
        f"request {entry.number} ({entry.kind.name}, {entry.phase}) of {entry.client[0]}:{entry.client[1]}: {what}"
        f" after {entry.ended - entry.sent:.3f} s; relay {relay}; seen by {servers}{held}{more}"
    )
    return Fault(text, entry.sent, entry.ended)


def _of_servers(entry: Entry, facts: Facts) -> Iterator[Fault]:
    """What servers saw of one request that they must not have seen, or did not see."""
    seen = facts.seen.get(entry.number, [])
    who = f"request {entry.number} ({entry.kind.name})"
    if len(seen) > 1 and (entry.kind.once or not facts.was_spoilt(entry)):
        yield Fault(f"{who} was seen {len(seen)} times: {', '.join(each.server for each in seen)}", *_span(entry))
    if seen and entry.outcome in NO_SLOT:
        yield Fault(f"{who} was refused ({entry.outcome}) and yet seen by {seen[0].server}", *_span(entry))
    if any(each.server not in SERVERS[entry.kind.upstream] for each in seen):
        yield Fault(f"{who} was seen by {seen[0].server}, which is none of its upstream's", *_span(entry))
    if not seen and entry.kind.upstream and entry.outcome.startswith("2"):
        yield Fault(f"{who} was answered {entry.outcome} though no server has seen it", *_span(entry))


def _span(entry: Entry) -> tuple[float, float]:
    return entry.sent, min(entry.ended, entry.sent + 60)


def _strangers(ledger: Ledger, seen: Iterable[Seen]) -> Iterator[Fault]:
    for each in seen:
        entry = ledger.of(each.request)
        if entry is None:
            yield Fault(f"{each.server} saw a request that nobody sent ({each.request})", each.began, each.began)
        elif entry.client[0] != each.address:
            wrong = f"{each.server} was told that request {entry.number} comes from {each.address}"
            yield Fault(f"{wrong}, not {entry.client[0]}", each.began, each.began)


def _over(most: dict[str, tuple[int, float]]) -> Iterator[Fault]:
    for address, (number, when) in most.items():
        if number > CAP:
            yield Fault(f"{number} requests of {address} were in flight at once", when, when)


def timeline(fault: Fault, story: Story) -> list[str]:
    """What went on around a fault, in seconds from its beginning."""
    if not fault.began:
        return []
    lines = []
    for event in story.around(fault.began, min(fault.ended, fault.began + 60)):
        ended = f"{event.ended - fault.began:+.3f}" if event.ended < float("inf") else "…"
        what = " ".join(str(each) for each in (event.what, event.server, event.pid or "", event.said) if each)
        lines.append(f"{event.began - fault.began:+.3f} to {ended}: {what}{' (skipped)' if event.skipped else ''}")
    return lines
