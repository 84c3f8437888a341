"""What a look-up in the route table costs: `python -m bench.route_lookup` prints µs per look-up.

Law: this file measures and judges nothing. Each figure is the best of several rounds, on whatever else the
machine was doing.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

from keystile.config.model import Needs, Operation
from keystile.routing.openapi import read_operations
from keystile.routing.route import Route
from keystile.routing.table import Habits, RouteTable

DOCUMENT = Path(__file__).parent.parent / "tests" / "data" / "elasticemail-openapi.yaml"
ROUNDS, LOOKUPS = 7, 20_000

PLAIN = {
    "literal": (b"GET", b"/v4/contacts"),
    "one parameter": (b"GET", b"/v4/campaigns/spring-sale"),
    "two templates fit": (b"GET", b"/v4/contacts/export/0f8fad5b-d9cb-469f-a165-70867728950e/status"),
    "HEAD": (b"HEAD", b"/v4/lists/customers/contacts"),
    "literal lacks the method": (b"GET", b"/v4/events/export"),
    "below /*": (b"GET", b"/v2/contact/list"),
    "not found": (b"GET", b"/v4/nothing/here"),
    "wrong method": (b"PATCH", b"/v4/contacts"),
}
ESCAPED = {
    "%40 in a name": (b"GET", b"/v4/contacts/anna%40shop.example"),
    "%2F in a name": (b"GET", b"/v4/security/apikeys/a%2Fb"),
    "all in a name": (b"GET", b"/v4/security/apikeys/100%25%3Ba%2Fb%3F%C3%A9"),
    "refused": (b"GET", b"/v4/contacts/export%2Fx%2Fstatus"),
}


def operations() -> list[Operation]:
    """The 112 operations of the document, and one row for everything below /v2/."""
    found, faults = read_operations(
        DOCUMENT.read_bytes(),
        file=DOCUMENT.name,
        prefix="/v4",
        scope_from_description="Required Access Level: (.+)",
        upstream="api",
        row=0,
    )
    assert not faults, faults
    return [*found, Operation((), "/v2/*", Needs(all_of=frozenset({"Legacy"})), "api", "bench", 1)]


def many(count: int) -> list[Operation]:
    """The same with as many more as make ``count``, of several shapes."""
    shapes = ("/v4/area{0}/things", "/v4/area{0}/things/{{id}}", "/v4/things{0}/{{id}}/parts/{{part}}", "/v5/{{x}}/{0}")
    needs = Needs(all_of=frozenset({"Many"}))
    known = operations()
    more = (shapes[number % 4].format(number) for number in range(count - len(known)))
    return [*known, *(Operation(("GET",), path, needs, "api", "bench", 2) for path in more)]


def microseconds(action: Callable[[], object]) -> float:
    """The time of one call, the best of several rounds."""
    return min(timeit.repeat(action, number=LOOKUPS, repeat=ROUNDS)) / LOOKUPS * 1e6


def main() -> None:
    """Print one line for each way of a look-up, with few and with many routes."""
    start = time.perf_counter()
    few = operations()
    print(f"{DOCUMENT.name}: {len(few) - 1} operations read in {(time.perf_counter() - start) * 1e3:.0f} ms")
    tables = []
    for rows in (few, many(10_000)):
        start = time.perf_counter()
        tables.append(RouteTable(rows))
        print(f"a table of {len(rows):,} routes made in {(time.perf_counter() - start) * 1e3:.0f} ms")
    tables.append(RouteTable(few, Habits(case_insensitive=frozenset({"api"}))))
    nothing = microseconds(partial(bool))
    print(f"\n{'µs per look-up':28}{'113':>8}{'10,000':>8}{'113, any case':>15}  answer")
    for name, (method, path) in (PLAIN | ESCAPED).items():
        costs = [microseconds(partial(table.find, method, path)) - nothing for table in tables]
        answer = tables[0].find(method, path)
        told = answer.path if isinstance(answer, Route) else answer.kind
        print(f"{name:28}{costs[0]:8.2f}{costs[1]:8.2f}{costs[2]:15.2f}  {told}")


if __name__ == "__main__":
    main()
