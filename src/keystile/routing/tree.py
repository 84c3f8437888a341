"""The tree of templates: from segments and a method to a route.

Law: this file knows in which order templates are tried and nothing of bad paths or other readings. It stands
on the way of every request, hence bytes, slots and one loop without calls.

The order: segment by segment a literal comes before a parameter; where a literal path lacks the method, the
next template that fits is tried; a ``/*`` only where no other template fits the path with whatever method, the
longest first, and where that lacks the method no shorter one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from keystile.routing.route import NOT_FOUND, NoRoute, Route
from keystile.routing.template import Template

# Never forwarded, not even by a row without methods: TRACE echoes the identity fields that the gateway adds
# (RFC 9110, 9.3.8), CONNECT has no path.
NEVER: Final = frozenset({b"TRACE", b"CONNECT"})
USUAL: Final = (b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT")


class Leaf:
    """What stands at one shape: a route per method, and one for every other method."""

    __slots__ = ("every", "refusal", "routes")

    def __init__(self) -> None:
        self.routes: dict[bytes, Route] = {}
        self.every: Route | None = None
        self.refusal = _wrong_method(())

    def add(self, route: Route) -> None:
        """An earlier route keeps what it has."""
        if self.every is not None:
            return
        for method in route.methods:
            self.routes.setdefault(method.encode(), route)
        if not route.methods:
            self.every = route

    def finish(self) -> None:
        """Say once what ``find`` would otherwise work out on every request: HEAD, and every method."""
        if b"GET" in self.routes:
            self.routes.setdefault(b"HEAD", self.routes[b"GET"])
        if self.every is not None:
            for method in USUAL:
                self.routes.setdefault(method, self.every)
        self.refusal = _wrong_method(self.routes)

    def get(self, method: bytes) -> Route | None:
        """The route for a method, or None."""
        route = self.routes.get(method)
        if route is None and self.every is not None and method.isupper() and method not in NEVER:
            # Only upper case: `get` must not find the row for every method where GET has a stricter one,
            # since some servers ignore the case of methods.
            return self.every
        return route

    def wins(self, route: Route, method: str) -> bool:
        """Whether a request with this method (``*``: every method) is served by this very route."""
        return (self.every if method == "*" else self.routes.get(method.encode())) is route


class _Node:
    __slots__ = ("below", "leaf", "literals", "parameter", "routes")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.parameter: _Node | None = None
        self.leaf: Leaf | None = None
        self.below: Leaf | None = None
        self.routes: dict[bytes, Route] = {}  # the leaf's, to save a step


class Tree:
    """Templates by their segments. ``find`` takes what ``path.split(b"/")`` gives, the empty one in front too."""

    __slots__ = ("_leaves", "_root")

    def __init__(self) -> None:
        self._root = _Node()
        self._leaves: dict[Template, Leaf] = {}

    def add(self, template: Template, route: Route) -> None:
        """Put a route at its shape; the ones put earlier win."""
        self.leaf(template).add(route)

    def finish(self) -> None:
        """To be called once, after the last ``add``."""
        for leaf in self._leaves.values():
            leaf.finish()

    def leaf(self, template: Template) -> Leaf:
        """The leaf at a shape; made when there is none."""
        found = self._leaves.get(template)
        if found is None:
            found = self._leaves[template] = self._grow(template)
        return found

    def _grow(self, template: Template) -> Leaf:
        node = self._root.literals.setdefault(b"", _Node())
        for segment in template.segments:
            if segment is not None:
                node = node.literals.setdefault(segment, _Node())
            else:
                node.parameter = node = node.parameter or _Node()
        leaf = Leaf()
        if template.below:
            node.below = leaf
        else:
            node.leaf, node.routes = leaf, leaf.routes
        return leaf

    def find(self, method: bytes, segs: Sequence[bytes]) -> Route | NoRoute:
        """The route for a method at a path. The first way down is the preferred one and nearly always right."""
        node = self._root
        for segment in segs:
            child = node.literals.get(segment)
            if child is None:
                child = node.parameter
                if child is None or not segment:
                    return self._search(method, segs)
            node = child
        return node.routes.get(method) or self._search(method, segs)

    def _search(self, method: bytes, segs: Sequence[bytes]) -> Route | NoRoute:
        """The same answer as ``find``, for every case: every way down, in the order of preference.

        No node is visited twice, so the work is bounded by the table and not by the path.
        """
        leaves: list[Leaf] = []
        below: list[tuple[int, Leaf]] = []
        forks = [(0, self._root)]
        while forks:
            depth, node = forks.pop()
            leaf = _descend(depth, node, segs, forks, below)
            if leaf is not None:
                if (route := leaf.get(method)) is not None:
                    return route
                leaves.append(leaf)
        if not leaves and below:
            longest = max(depth for depth, _ in below)
            leaves = [leaf for depth, leaf in below if depth == longest]
        return _pick(method, leaves) if leaves else NOT_FOUND


def _descend(
    depth: int,
    node: _Node,
    segs: Sequence[bytes],
    forks: list[tuple[int, _Node]],
    below: list[tuple[int, Leaf]],
) -> Leaf | None:
    """The leaf at the end of the preferred way down from a node; notes the ways not taken and each ``/*`` passed."""
    for segment in segs[depth:]:
        if node.below is not None:
            below.append((depth, node.below))
        depth += 1
        literal = node.literals.get(segment)
        parameter = node.parameter if segment else None  # the empty last segment is no value of a parameter
        if literal is None:
            if parameter is None:
                return None
            node = parameter
        else:
            if parameter is not None:
                forks.append((depth, parameter))
            node = literal
    return node.leaf


def _pick(method: bytes, leaves: list[Leaf]) -> Route | NoRoute:
    for leaf in leaves:
        if (route := leaf.get(method)) is not None:
            return route
    if len(leaves) == 1:
        return leaves[0].refusal
    return _wrong_method({name for leaf in leaves for name in leaf.routes})


def _wrong_method(allowed: Iterable[bytes]) -> NoRoute:
    return NoRoute("wrong_method", "the path exists, but not for this method", b", ".join(sorted(allowed)))
