"""Rows that contradict each other, and which scopes a table knows.

Law: this file compares operations before a table is made of them; it reads no files and serves no requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keystile.config.model import Operation
from keystile.routing.paths import fold
from keystile.routing.template import Template, parse_template

EVERY = "*"


class RouteConflict(ValueError):
    """Two rows give one operation different needs, and the earlier does not say that it means to."""

    def __init__(self, pairs: Sequence[tuple[Operation, Operation]]) -> None:
        earlier, later = pairs[0]
        super().__init__(
            f"{earlier.source} and {later.source} both say what {' '.join(later.methods) or 'every method'} "
            f"{later.path} needs, and differ; override: true on the earlier makes it win"
        )
        self.pairs = tuple(pairs)


def check_conflicts(
    operations: Sequence[Operation], case_insensitive_upstreams: frozenset[str] = frozenset()
) -> list[tuple[Operation, Operation]]:
    """Every pair (earlier, later) where a later row gives other needs to what the earlier already decides.

    Operations are one when shape and a method are the same. For an upstream that ignores case, so are two
    that differ in case only. Raises ``BadTemplate``.
    """
    groups: dict[Template, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(parse_template(operation.path), []).append(operation)
    pairs = [pair for group in groups.values() for pair in _in_group(group)]
    if case_insensitive_upstreams:
        pairs += [pair for pair in _by_folded_shape(groups, case_insensitive_upstreams) if pair not in pairs]
    return pairs


def known_scopes(operations: Iterable[Operation]) -> frozenset[str]:
    """Every scope that some operation asks for."""
    needs = [operation.needs for operation in operations]
    return frozenset(scope for each in needs for scope in each.all_of | each.any_of)


def fold_template(template: Template) -> Template:
    """The shape as an upstream reads it that ignores case."""
    folded = (None if segment is None else fold((segment,))[0] for segment in template.segments)
    return Template(tuple(folded), template.below)


def _by_folded_shape(
    groups: dict[Template, list[Operation]], upstreams: frozenset[str]
) -> Iterable[tuple[Operation, Operation]]:
    folded: dict[Template, list[Operation]] = {}
    for template, group in groups.items():
        folded.setdefault(fold_template(template), []).extend(group)
    for group in folded.values():
        group.sort(key=lambda operation: operation.row)
        yield from _in_group([operation for operation in group if operation.upstream in upstreams])


def _in_group(group: list[Operation]) -> list[tuple[Operation, Operation]]:
    """The conflicts among operations of one shape, in the order that decides."""
    if len(group) == 1:
        return []
    named = {method for operation in group for method in operation.methods} | {EVERY}
    winners: dict[str, Operation] = {}
    pairs: list[tuple[Operation, Operation]] = []
    for operation in group:
        for method in sorted(operation.methods or named):
            winner = winners.setdefault(method, operation)
            pair = (winner, operation)
            if winner.needs != operation.needs and not winner.override and pair not in pairs:
                pairs.append(pair)
    return pairs
