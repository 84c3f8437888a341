"""The route table: what does this method and path need, and where does it go?

Law: this file answers and never refuses; what an answer means to a client is the relay's business. It knows
routes and path rules, and no keys, requests or sockets. It stands on the way of every request: a plain path
costs one regular expression, one split and one way down a tree, and one with harmless escapes twice that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keystile.config.model import Operation, Upstream
from keystile.routing.conflicts import EVERY, RouteConflict, check_conflicts, fold_template
from keystile.routing.paths import BadPath, Segments, decoded, fold, is_plain, readings, without_extension
from keystile.routing.route import AMBIGUOUS, NoRoute, Route
from keystile.routing.template import Template, parse_template
from keystile.routing.tree import NEVER, Tree

_METHOD: Final = re.compile(r"[A-Z][A-Z0-9-]*").fullmatch
_SLASH: Final = ord("/")


@dataclass(frozen=True, slots=True)
class Habits:
    """Upstreams, by name, that read paths more loosely than most: ``case_insensitive`` take ``/Admin`` for ``/admin``,
    ``ignore_extensions`` take ``/admin.json`` for it, ``undecoded_literals`` do not take ``/%61dmin`` for it.
    """

    case_insensitive: frozenset[str] = frozenset()
    ignore_extensions: frozenset[str] = frozenset()
    undecoded_literals: frozenset[str] = frozenset()


def habits_of(upstreams: Iterable[Upstream]) -> Habits:
    """What the settings say of their upstreams' reading."""
    known = tuple(upstreams)
    return Habits(
        frozenset(upstream.name for upstream in known if upstream.case_insensitive),
        frozenset(upstream.name for upstream in known if upstream.ignores_extensions),
        frozenset(upstream.name for upstream in known if upstream.undecoded_literals),
    )


class RouteTable:
    """Every operation of one configuration, ready for look-ups. Only the routes' notes ever change."""

    def __init__(self, operations: Sequence[Operation], habits: Habits = Habits()) -> None:
        """Raises ``BadTemplate`` for a path and ``RouteConflict`` for rows that contradict each other."""
        if pairs := check_conflicts(operations, habits.case_insensitive):
            raise RouteConflict(pairs)
        self.routes = tuple(_route(index, operation) for index, operation in enumerate(operations))
        self._templates = tuple(parse_template(route.path) for route in self.routes)
        self._tree = self._plant(self._templates)
        self._habits = habits
        folded = [fold_template(template) for template in self._templates]
        self._folded = self._plant(folded) if habits.case_insensitive else None
        self._slashed = any(_tells_slashes_apart(route) for route in self.routes)
        self._compare_all = self._slashed or self._folded is not None or bool(habits.ignore_extensions)

    def find(self, method: bytes, path: bytes) -> Route | NoRoute:
        """The route for a method and a raw path without its query (bytes as the client sent them)."""
        if not is_plain(path):
            plain = None if self._habits.undecoded_literals else decoded(path)
            if plain is None:
                return self._find_carefully(method, path)
            path = plain
        segs = path.split(b"/")
        route = self._tree.find(method, segs)
        if self._compare_all or path[-1] == _SLASH:
            return self._unless_ambiguous(route, method, [tuple(segs)])
        return route

    def find_for_preflight(self, path: bytes, requested_method: bytes) -> Route | NoRoute:
        """The route that a browser asks about, by Access-Control-Request-Method, before it sends the request.

        What counts is the method to come, never OPTIONS (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
        """
        return self.find(requested_method, path)

    def effective(self) -> Iterator[tuple[Route, str]]:
        """Every route with each method it serves (``*``: all others), without what earlier rows have taken."""
        for route, template in zip(self.routes, self._templates, strict=True):
            leaf = self._tree.leaf(template)
            for method in dict.fromkeys(route.methods or (EVERY,)):
                if leaf.wins(route, method):
                    yield route, method

    def _plant(self, templates: Sequence[Template]) -> Tree:
        tree = Tree()
        for template, route in zip(templates, self.routes, strict=True):
            tree.add(template, route)
        tree.finish()
        return tree

    def _find_carefully(self, method: bytes, path: bytes) -> Route | NoRoute:
        try:
            ways = [(b"", *segs) for segs in readings(path)]
        except BadPath as bad:
            return NoRoute("bad_path", bad.reason)
        first = self._tree.find(method, ways[0])
        if isinstance(first, Route) and first.upstream in self._habits.undecoded_literals:
            ways.append(tuple(path.split(b"/")))
        return self._unless_ambiguous(first, method, ways)

    def _unless_ambiguous(self, first: Route | NoRoute, method: bytes, ways: list[Segments]) -> Route | NoRoute:
        """The first answer, if no way of reading the path (our own included) leads to one that differs."""
        if isinstance(first, NoRoute):
            return first  # refused already; what else the path might be does not matter
        if first.upstream in self._habits.ignore_extensions and not self._names_its_ending(first):
            try:
                ways = [*ways, *(cut for segs in ways for cut in without_extension(segs))]
            except BadPath as bad:
                return NoRoute("bad_path", bad.reason)
        looks = [(self._tree, segs) for segs in ways]
        if self._folded is not None and first.upstream in self._habits.case_insensitive:
            looks += [(self._folded, fold(segs)) for segs in ways]
        for tree, segs in looks:
            if not (_agrees(first, tree.find(method, segs)) and self._slash_agrees(first, tree, method, segs)):
                return AMBIGUOUS
        return first

    def _names_its_ending(self, route: Route) -> bool:
        """Whether the row spells the last name out, ending and all: then its author has told the two apart."""
        template = self._templates[route.id]
        return not template.below and template.segments[-1] is not None

    def _slash_agrees(self, first: Route, tree: Tree, method: bytes, segs: Segments) -> bool:
        """Whether the route stays the same for a server to which ``/a`` and ``/a/`` are one (Express, Spring 5).

        With the rows ``/admin`` and ``/*``, the path ``/admin/`` falls under the second for us and under the
        first for them. Where the table has a row that ends in the slash, its author has told the two apart.
        """
        if segs[-1] == b"":
            return _tells_slashes_apart(first) or len(segs) == 2 or _agrees(first, tree.find(method, segs[:-1]))
        other = tree.find(method, (*segs, b"")) if self._slashed else first
        if isinstance(other, NoRoute) or not _tells_slashes_apart(other):
            return True
        both_given = self._templates[other.id].segments[:-1] == self._templates[first.id].segments
        return both_given or _same(first, other)


def rows(table: RouteTable) -> list[dict[str, object]]:
    """What ``keystile routes --json`` prints: one row per operation and method, with its own parameter names.

    ``scopes``: a list of those that are all needed (empty: any valid key), ``{"all": […], "any": […]}`` where
    one of several is enough, null for a public route. ``method``: ``*`` where the row names none.
    """
    return [
        {"method": method, "path": route.path, "scopes": scopes_of(route), "upstream": route.upstream}
        for route, method in table.effective()
    ]


def scopes_of(route: Route) -> object:
    """What it needs, as ``keystile routes --json`` writes it."""
    needs = route.needs
    if needs.public:
        return None
    if not needs.any_of:
        return sorted(needs.all_of)
    every = {"all": sorted(needs.all_of)} if needs.all_of else {}
    return {**every, "any": sorted(needs.any_of)}


def _route(index: int, operation: Operation) -> Route:
    for method in operation.methods:
        if not _METHOD(method) or method.encode() in NEVER:
            raise ValueError(f"{operation.source}: the method {method!r} is never forwarded")
    return Route(
        id=index,
        path=operation.path,
        methods=operation.methods,
        needs=operation.needs,
        upstream=operation.upstream,
        cors=operation.cors,
        websocket=operation.websocket,
        source=operation.source,
    )


def _tells_slashes_apart(route: Route) -> bool:
    return route.path.endswith("/") and route.path != "/"


def _same(one: Route, other: Route) -> bool:
    return one is other or (one.needs == other.needs and one.upstream == other.upstream)


def _agrees(first: Route, other: Route | NoRoute) -> bool:
    """Whether another reading of the path may stand beside the first.

    Where it leads nowhere it may: no row says what that would need, and a name such as ``a%2Fb`` in the place
    of one parameter reads like that. Where it leads to a path that the table has for other methods only it may
    not: the table knows that resource, keeps this method from it, and the first row's scope says nothing about
    it (DELETE /users/1%2Fkeys, with DELETE on /users/{id} and only GET on /users/{id}/keys).
    """
    if isinstance(other, NoRoute):
        return other.kind != "wrong_method"
    return _same(first, other)
