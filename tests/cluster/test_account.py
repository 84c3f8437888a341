"""Short forms of the account (``python -m tests.cluster.account``): two hosts, and nothing may remain."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.account import cut_from_slots, kill_a_host, under_traffic
from tests.cluster.crowd import Api, Caller, api, traffic
from tests.cluster.diary import Diary
from tests.cluster.fleet import OURS, fleet
from tests.cluster.judging import INSIDE, Account, judge
from tests.cluster.key_changes import KeyChanges
from tests.cluster.lateness import changes_not_made
from tests.cluster.rolling import HELD, come_and_go, lower_some
from tests.cluster.server import needs_server
from tests.storage.postgres_server import needs_postgresql

pytestmark = needs_server


@dataclass
class Run:
    """What was written down, and what is wrong besides."""

    diary: Diary
    faults: list[str] = field(default_factory=list)
    account: Account = field(default_factory=Account)

    def judged(self) -> Run:
        """With all that remains."""
        self.account = judge(self.diary)
        self.faults += [*self.account.remainder, *changes_not_made(self.diary)]
        return self

    def has(self, outcome: str, problem: str = "") -> int:
        """So many requests that ended like this."""
        return Counter((entry.outcome, entry.problem) for entry in self.diary.entries)[outcome, problem]


async def all_of_it(folder: Path) -> tuple[Run, Run]:
    """Faults, and then hosts that are not the same, on the same two hosts."""
    faults, rolling, dice = Run(Diary(hosts=2)), Run(Diary(hosts=2)), random.Random(1)
    async with api(faults.diary) as port, fleet(folder / "fleet", port, sources=(OURS, OURS)) as hosts:
        short = {"killed": partial(kill_a_host, seconds=0.2), "cut": partial(cut_from_slots, seconds=1.5)}
        faults.faults += await under_traffic(hosts, faults.diary, dice, short, 0.7, calm_ones=1, many=30)
        Api.diary = diary = rolling.diary
        hosts.hosts[0].is_offered = hosts.hosts[1].is_offered = True
        caller = Caller(hosts, diary, HELD, diary.cap, dice)
        async with traffic(hosts, diary, dice, 1, many=30), KeyChanges(hosts, diary, dice).going_on():
            diary.begin_phase("another limit")
            await lower_some(hosts, diary, 2.0)
            diary.begin_phase("come and go")
            rolling.faults += (await come_and_go(hosts, diary, caller, 0.5))[1]
        diary.begin_phase("at rest")
        rolling.faults += await hosts.at_rest()
    return faults.judged(), rolling.judged()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    needs_postgresql()
    return asyncio.run(all_of_it(tmp_path_factory.mktemp("fleet")))


def test_of_a_killed_host_and_of_one_that_is_cut_off_every_request_is_accounted_for(runs: tuple[Run, Run]) -> None:
    run, _ = runs
    assert run.faults == []
    assert run.account.is_whole
    assert run.account.columns[INSIDE]
    assert run.has("503", "count-unavailable")
    assert run.account.highest == 20, "the crowd had all there were, and never one more"


def test_hosts_of_another_limit_and_hosts_that_come_and_go_fail_nobody(runs: tuple[Run, Run]) -> None:
    """Nor have those of the lower limit more than that together; and a removed host's units are back at its end."""
    _, run = runs
    assert run.faults == []
    assert run.account.is_whole
    assert not run.account.columns[INSIDE]
    assert {entry.outcome for entry in run.diary.entries} <= {"200", "401", "403", "429"}
    assert run.has("429", "too-many-at-once")
    assert {entry.host for entry in run.diary.entries} == {0, 1, 2}
