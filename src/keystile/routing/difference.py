"""What a call needs under one route table and under another: the change that an operator fears is one that opens.

Law: two tables in, changes out; nothing is shown here. Rows are compared by what they *do*: where a row goes, what
its path falls under then counts (``/v2/admin`` under ``/v2/*``), and a row that says what held anyway is no change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from keystile.config.model import Needs
from keystile.routing.conflicts import EVERY
from keystile.routing.route import Route
from keystile.routing.table import RouteTable

Opening = Literal["", "public", "less", "other"]
"""Whether somebody gets in who did not: anybody, whoever holds less, whoever holds something else."""
Key = tuple[str, str]
"""Method and path, its parameters without names."""
_PARAMETER: Final = re.compile(r"\{[^{}]*\}")
_BEYOND_ASCII: Final = re.compile(rb"[^\x00-\x7f]")
_ANY: Final = "keystile-any"
_DEEPEST: Final = 6
_OTHER_METHOD: Final = b"X-KEYSTILE-ANY"


@dataclass(frozen=True, slots=True)
class RouteChange:
    """One operation: the route it fell under and falls under; None: refused. ``path``: as the row has it."""

    method: str
    path: str
    was: Route | None
    now: Route | None
    opening: Opening

    @property
    def what(self) -> Literal["added", "removed", "changed"]:
        """In a word."""
        return "added" if self.was is None else "removed" if self.now is None else "changed"


def route_changes(was: RouteTable, now: RouteTable) -> list[RouteChange]:
    """Every operation that does something else now, in the order of the rows, those that go at the end."""
    before, after = dict(_operations(was)), dict(_operations(now))
    found = []
    for key, new in after.items():
        old = before.get(key) or _under(was, now, key, after)
        found += _change(key[0], new.path, old, new)
    for key, old in before.items():
        if key not in after:
            found += _change(key[0], old.path, old, _under(now, was, key, before))
    return found


def opening(was: Needs | None, now: Needs | None) -> Opening:
    """Whether somebody gets in now who did not (None: nobody does)."""
    if now is None or was == now or (was is not None and was.public):
        return ""
    if now.public:
        return "public"
    if was is None or _implies(now, was):
        return ""
    return "less" if _implies(was, now) else "other"


def _operations(table: RouteTable) -> Iterator[tuple[Key, Route]]:
    """By method and path, whatever its parameters are called."""
    for route, method in table.effective():
        yield (method, _PARAMETER.sub("{}", route.path)), route


def _under(other: RouteTable, own: RouteTable, key: Key, routes: dict[Key, Route]) -> Route | None:
    """What an operation of ``own`` falls under in ``other``, which has no such row."""
    method = _OTHER_METHOD if key[0] == EVERY else key[0].encode("ascii")
    samples = [sample for sample in _samples(key[1]) if own.find(method, sample) is routes[key]]
    found = [other.find(method, sample) for sample in samples]
    return next((each for each in found if isinstance(each, Route)), None)


def _samples(path: str) -> Iterator[bytes]:
    """Raw paths that the template means; below ``/*`` at several depths, since others may win at some."""
    filled = _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], path.replace("{}", _ANY).encode())
    if not filled.endswith(b"/*"):
        yield filled
        return
    for depth in range(1, _DEEPEST):
        yield filled[:-1] + b"/".join([_ANY.encode()] * depth)


def _change(method: str, path: str, was: Route | None, now: Route | None) -> list[RouteChange]:
    """The change, if it is one: names of parameters, and which row it is, are none."""
    if _done(was) == _done(now):
        return []
    needed, needs = (None if each is None else each.needs for each in (was, now))
    return [RouteChange(method, path, was, now, opening(needed, needs))]


def _done(route: Route | None) -> object:
    return None if route is None else (route.needs, route.upstream, route.cors, route.websocket)


def _implies(one: Needs, other: Needs) -> bool:
    """Whether every key that satisfies ``one`` satisfies ``other``, too; neither is public."""
    held, some = _plain(one)
    needed, any_of = _plain(other)
    return needed <= held and (not any_of or bool(any_of & held) or (bool(some) and some <= any_of))


def _plain(needs: Needs) -> tuple[frozenset[str], frozenset[str]]:
    """Scopes that are all needed, and those of which one is: one of one is all."""
    if len(needs.any_of) == 1:
        return needs.all_of | needs.any_of, frozenset()
    return needs.all_of, needs.any_of
