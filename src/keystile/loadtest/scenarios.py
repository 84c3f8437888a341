"""The scenarios, as rows of data.

Law: data only. Each row says who calls how often, from how many addresses, with which keys, and what must be kept;
how that is done stands in the other files. All are modest: at most 30 seconds, and rates that a laptop can take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from keystile.loadtest.shape import RAMP, SPIKE, STEADY, Points

Mix = Literal["reads", "operations", "held"]
"""Which calls: all that only read; all operations by their weights; one that is held open."""
Role = Literal["all", "reader", "elsewhere", "unknown", "none"]
"""A key with all permissions, with those that reading needs, for another network, one that no gateway has, no key."""

TOO_MANY: Final = "too-many-at-once"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row. ``rate``: requests a second of all users together, None: as fast as answers come.

    ``slow_share``: the share of users that send and read slowly (they are not timed). ``may``: refusals that are
    no fault here. ``objectives`` as they are written on the command line.
    """

    name: str
    what: str
    objectives: tuple[str, ...]
    shape: Points = STEADY
    users: int = 10
    rate: float | None = 100
    seconds: float = 15
    addresses: int = 1
    mix: Mix = "reads"
    keys: tuple[Role, ...] = ("all",)
    slow_share: float = 0
    may: tuple[str, ...] = ()


_QUICK: Final = ("p50=20ms", "p99=150ms", "failed=0%", "throughput=90%", "cap=exact")
_SHEDDING: Final = (TOO_MANY, "overloaded", "too-many-connections")

_ROWS: Final = (
    Scenario("steady", "ten callers at an even rate", _QUICK),
    Scenario("ramp", "from two callers to forty, on four addresses", _QUICK, RAMP, 40, 200, 20, 4),
    Scenario(
        "spike",
        "six callers become sixty for a quarter of the time, and go again; refusals of overload are no fault",
        ("p99=1s", "failed=0%", "refused=20%", "cap=exact"),
        SPIKE,
        users=60,
        rate=600,
        seconds=20,
        addresses=6,
        may=_SHEDDING,
    ),
    Scenario(
        "at-once",
        "25 requests held open at once from one address, again and again: exactly as many as the cap are let in",
        ("failed=0%", "cap=exact"),
        users=25,
        rate=None,
        seconds=10,
        mix="held",
        may=(TOO_MANY,),
    ),
    Scenario(
        "addresses",
        "200 callers on 100 addresses, each of them far below the cap",
        _QUICK,
        users=200,
        rate=200,
        addresses=100,
    ),
    Scenario(
        "slow",
        "twelve quick callers beside twelve that drip their requests and sip their answers",
        _QUICK,
        users=24,
        rate=120,
        addresses=2,
        slow_share=0.5,
    ),
    Scenario(
        "permissions",
        "keys with all permissions, few, for another network, unknown, and none: each call has one right answer",
        _QUICK,
        mix="operations",
        keys=("all", "reader", "elsewhere", "unknown", "none"),
    ),
    Scenario(
        "operations",
        "every operation of the API, weighted: mostly reading; as fast as answers come",
        ("p50=30ms", "p99=200ms", "failed=0%", "throughput=50/s", "cap=exact"),
        users=8,
        rate=None,
        mix="operations",
    ),
)
SCENARIOS: Final[Mapping[str, Scenario]] = {row.name: row for row in _ROWS}

LONGEST: Final = 600.0
MOST_USERS: Final = 1000
MOST_RATE: Final = 20_000.0
"""No option goes beyond these: seconds, users, requests a second."""
