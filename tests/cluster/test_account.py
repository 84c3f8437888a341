"""A short form of the account (``python -m tests.cluster.account``): few hosts, and nothing may remain."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.account import cut_from_slots, spell
from tests.cluster.crowd import Caller, api, traffic
from tests.cluster.diary import Diary, What
from tests.cluster.fleet import OURS, fleet
from tests.cluster.judging import INSIDE, REFUSED, RULES, Account, judge
from tests.cluster.key_changes import KeyChanges
from tests.cluster.lateness import changes_not_made
from tests.cluster.rolling import HELD, another_route, come_and_go, lower_some
from tests.cluster.server import needs_server
from tests.storage.postgres_server import needs_postgresql

pytestmark = needs_server
LIMIT, CUT_OFF, KILLED, MOVED = "another limit", "cut off", "killed", "come and go"


@dataclass
class Run:
    """What was written down, what it amounts to, and what is wrong besides."""

    diary: Diary
    faults: list[str] = field(default_factory=list)
    account: Account = field(default_factory=Account)

    def column(self, phase: str, column: str) -> int:
        """So many requests of a phase stand there."""
        rules = [rule.name for rule in RULES if rule.column == column]
        return sum(self.account.by_rule[phase, name] for name in rules)

    def outcomes(self, phase: str) -> Counter[tuple[str, str]]:
        """Of a phase."""
        return Counter((entry.outcome, entry.problem) for entry in self.diary.entries if entry.phase == phase)


async def all_of_it(folder: Path) -> Run:
    """One after the other, under traffic: two hosts; one is killed for good, one is added, and the first is removed."""
    run, dice = Run(Diary(hosts=2)), random.Random(1)
    diary = run.diary
    async with api(diary) as port, fleet(folder / "fleet", port, sources=(OURS, OURS)) as hosts:
        caller = Caller(hosts, diary, HELD, diary.cap, dice)
        async with traffic(hosts, diary, dice, 1, many=40), KeyChanges(hosts, diary, dice).going_on(2, 2):
            diary.begin_phase(LIMIT)
            await lower_some(hosts, diary, 1.7)
            run.faults += await another_route(hosts)
            diary.begin_phase(CUT_OFF)
            await cut_from_slots(hosts, diary, 1.6)
            diary.begin_phase(KILLED)
            async with spell(diary, What.KILLED, 1) as killed:
                hosts.hosts[1].kill()
            killed.ended = float("inf")
            await asyncio.sleep(0.5)
            hosts.hosts[1].is_offered = False
            diary.begin_phase(MOVED)
            run.faults += (await come_and_go(hosts, diary, caller, 0.3))[1]
        run.faults += await hosts.at_rest()
    run.account = judge(diary)
    run.faults += [*run.account.remainder, *changes_not_made(diary)]
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    needs_postgresql()
    return asyncio.run(all_of_it(tmp_path_factory.mktemp("fleet")))


def test_every_request_is_accounted_for_and_nothing_stays_taken(run: Run) -> None:
    assert run.faults == []
    assert run.account.is_whole
    assert run.account.highest == 20, "the crowd had all there were, and never one more"


def test_each_fault_was_felt(run: Run) -> None:
    """An account of nothing would be whole as well."""
    assert run.column(KILLED, INSIDE)
    assert run.outcomes(CUT_OFF)["503", "count-unavailable"]
    # Mostly with 20 in hand over both hosts, which a rule before that of the lower limit explains.
    refused = {entry.host for entry in run.diary.entries if entry.phase == LIMIT and entry.outcome == "429"}
    assert refused >= run.diary.lower.keys()


def test_hosts_that_come_and_go_fail_nobody(run: Run) -> None:
    assert {outcome for outcome, _ in run.outcomes(MOVED)} <= {"200", "401", "403", "429"}
    assert not run.column(MOVED, INSIDE)
    assert run.column(MOVED, REFUSED) == run.outcomes(MOVED)["429", "too-many-at-once"]
    assert {entry.host for entry in run.diary.entries if entry.phase == MOVED} == {0, 2}
