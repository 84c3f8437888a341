"""What slots over hosts cost a relay: python -m tests.cluster.slots cost.

Law: it measures and reckons, and judges nothing. Hosts that count by themselves (``slots: host``) and hosts with a
server have the same traffic *at the same time*, and their processor time is read in windows of a second. So what the
machine does in a second, it does to both: one after the other, the same programs differed by 16 µs from turn to turn.
Each round starts all processes anew, since two that are the same differ by one or two per cent for as long as they
live. In two rounds both count by themselves: what is found then is what this way of measuring adds.

All that a relay spends is in: heartbeats, questions, what is given back. The windows begin a second after the traffic;
the round trips of that second are counted. Both share one machine, so each has about half the requests that it could
have: heartbeats weigh about twice what they would, and questions less, since fewer requests are in flight at once
(0.008 to 0.011 round trips a request, where hosts that had the machine to themselves had 0.014).

Latencies are those of all requests, of the first second too. Source of the clock: ``tests/processor.py``.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.cluster.four_hosts import hosts
from tests.processor import cpu_of

ROUNDS, CONTROLS, WINDOWS = 8, 2, 12
CLIENTS, DELAY = 8, 2
"""Of each address, and the milliseconds for which the API thinks."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Round:
    """Microseconds a request of each window, with each rule; and what was asked of the server for one request."""

    alone: list[float]
    shared: list[float]
    requests: int
    asked: float
    commands: float
    times: tuple[list[float], list[float]] = ([], [])  # seconds of each request, as its client saw it, with each rule

    def more(self) -> list[float]:
        """What each window cost more where slots are shared."""
        return [shared - alone for alone, shared in zip(self.alone, self.shared, strict=True)]

    def later(self, share: int) -> float:
        """Milliseconds by which so many hundredths of the requests took longer where slots are shared."""
        alone, shared = (statistics.quantiles(times, n=100)[share - 1] for times in self.times)
        return (shared - alone) * 1e3


def interval(groups: Sequence[Sequence[float]], dice: random.Random, times: int = RESAMPLES) -> tuple[float, float]:
    """95 % of the medians that such a measurement would find: bootstrap, of rounds first and then of their windows."""
    found = sorted(
        statistics.median(
            [each for group in dice.choices(groups, k=len(groups)) for each in dice.choices(group, k=len(group))]
        )
        for _ in range(times)
    )
    return found[times // 40], found[-1 - times // 40]


async def measure_cost() -> bool:
    """Measure and print."""
    control = [await _round("host", at % 2 == 1) for at in range(CONTROLS)]
    print(f"slots: host beside itself: {_said([each.more() for each in control])}", flush=True)
    rounds = [await _round("per_host", at % 2 == 1) for at in range(ROUNDS)]
    for each in rounds:
        print(
            f"  host {statistics.median(each.alone):.1f} µs, valkey {statistics.median(each.shared):.1f} µs a request, "
            f"more in each second: {' '.join(f'{more:.1f}' for more in each.more())}"
        )
    requests = sum(each.requests for each in rounds)
    for share in (50, 99):
        later = [each.later(share) for each in rounds]
        print(
            f"added latency, {share} % of the requests: {statistics.median(later):.2f} ms (of each round, "
            f"both at once: {' '.join(f'{each:.2f}' for each in later)}); "
            f"host beside itself: {' '.join(f'{each.later(share):.2f}' for each in control)}"
        )
    asked, commands = sum(each.asked for each in rounds) / requests, sum(each.commands for each in rounds) / requests
    alone = statistics.median([cost for each in rounds for cost in each.alone])
    shared = statistics.median([cost for each in rounds for cost in each.shared])
    print(f"slots: host: {alone:.1f} µs of a relay for a request; slots: valkey: {shared:.1f} µs")
    print(f"more with valkey: {_said([each.more() for each in rounds])}")
    print(f"{asked:.3f} round trips and {commands:.3f} commands a request; {1 - asked:.1%} of the requests ask nobody")
    return True


def _said(groups: Sequence[Sequence[float]]) -> str:
    every = [each for group in groups for each in group]
    low, high = interval(groups, random.Random(1))
    return f"{statistics.median(every):.1f} µs a request (95 %: {low:.1f} to {high:.1f}; {len(every)} windows)"


async def _round(rule: str, is_turned: bool) -> Round:
    """Both at the same time; ``is_turned``: those of ``rule`` are started first."""
    rules = (rule, "host") if is_turned else ("host", rule)
    async with hosts(rules[0]) as first, hosts(rules[1]) as second:
        both = [second, first] if is_turned else [first, second]
        relays = [[pid for gateway in ground.gateways for pid in gateway.relays()] for ground in both]
        asked = await both[1].sums("slots_asked_total", "slots_commands_total")
        costs: list[list[float]] = [[], []]
        async with both[0].traffic(CLIENTS, DELAY) as one, both[1].traffic(CLIENTS, DELAY) as other:
            await asyncio.sleep(1)  # connections are made, and units lent
            seen = _look(relays, one.ends.total(), other.ends.total())
            for _ in range(WINDOWS):
                await asyncio.sleep(1)
                before, seen = seen, _look(relays, one.ends.total(), other.ends.total())
                for at in (0, 1):
                    spent, served = (seen[at][which] - before[at][which] for which in (0, 1))
                    costs[at].append(spent / served * 1e6)
        now = await both[1].sums("slots_asked_total", "slots_commands_total")
        questions, commands = (new - old for new, old in zip(now, asked, strict=True))
        return Round(costs[0], costs[1], other.ends.total(), questions, commands, (one.times, other.times))


def _look(relays: Sequence[Sequence[int]], *served: int) -> list[tuple[float, int]]:
    """Seconds of processor time, and requests, of either."""
    return [(sum(map(cpu_of, pids)), requests) for pids, requests in zip(relays, served, strict=True)]
