"""Operations by exact look-up: method and path in one word, ``*`` where a parameter stands.

Law: knows the API's operations and no gateway. Whoever finds nothing under a path looks again with one segment replaced
by ``*``, at each of ``places`` in turn; that the order cannot matter is made sure of here.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, product

from bench.api import ApiCall

PARAMETER = re.compile(r"{[^}]+}")


def shapes(calls: tuple[ApiCall, ...]) -> dict[str, ApiCall]:
    """Method and path in one word, ``*`` for the parameter; ValueError where the order of look-ups would matter."""
    groups: dict[tuple[str, int], list[ApiCall]] = {}
    for call in calls:
        if _place(call):
            groups.setdefault((call.method, _place(call)), []).append(call)
    for (method, place), (other_method, other_place) in combinations(groups, 2):
        if method == other_method:
            for one, other in product(groups[method, place], groups[method, other_place]):
                if _overlap(one, other):
                    raise ValueError(f"a path may be both {one.path} and {other.path}")
    return {f"{call.method}{PARAMETER.sub('*', call.path)}": call for call in calls}


def places(calls: tuple[ApiCall, ...]) -> list[int]:
    """Where parameters stand, the commonest place first."""
    return [place for place, _ in Counter(_place(call) for call in calls if _place(call)).most_common()]


def _place(call: ApiCall) -> int:
    """The number of the segment that is a parameter (the first segment is 1), 0 for none."""
    found = [place for place, segment in enumerate(call.path.split("/")) if PARAMETER.fullmatch(segment)]
    if len(found) > 1:
        raise ValueError(f"{call.path}: more than one parameter")
    return sum(found)


def _overlap(one: ApiCall, other: ApiCall) -> bool:
    ours, theirs = one.path.split("/"), other.path.split("/")
    return len(ours) == len(theirs) and all(
        a == b or PARAMETER.fullmatch(a) or PARAMETER.fullmatch(b) for a, b in zip(ours, theirs, strict=True)
    )
