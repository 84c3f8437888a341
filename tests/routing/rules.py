"""The rules of the route table once more, slowly, from the words of the design: what the real one must agree with.

Law: no code of the routing package but its data types. Every answer is found by trying every operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from keystile.config.model import Needs, Operation

Answer = Operation | Literal["not_found", "wrong_method"]


def row(path: str, scope: str | None = None, *methods: str, upstream: str = "api", override: bool = False) -> Operation:
    """An operation: ``scope`` None is public, ``"*"`` any key; no methods are all."""
    needs = Needs(public=True) if scope is None else Needs(all_of=frozenset({scope} - {"*"}))
    return Operation(methods, path, needs, upstream, f"gateway.yaml: {path}", 0, override)


def slowly(operations: Sequence[Operation], method: str, segments: Sequence[str], fold: bool = False) -> Answer:
    """The operation that these segments lead to."""
    fits: dict[tuple[int, ...], list[Operation]] = {}
    below: dict[tuple[int, ...], list[Operation]] = {}
    for operation in operations:
        rank = _rank(operation.path, segments, fold)
        if rank is not None:
            (below if operation.path.endswith("/*") else fits).setdefault(rank, []).append(operation)
    if not fits and below:
        longest = max(len(rank) for rank in below)
        fits = {rank: found for rank, found in below.items() if len(rank) == longest}
    for _, found in sorted(fits.items()):
        if (winner := _of_one_shape(found, method)) is not None:
            return winner
    return "wrong_method" if fits else "not_found"


def _rank(path: str, segments: Sequence[str], fold: bool) -> tuple[int, ...] | None:
    """How a template fits: 0 for each literal and 1 for each parameter, so that smaller is better; None: not."""
    parts = path[1:].split("/")
    if parts[-1] == "*":
        parts.pop()
        if len(segments) <= len(parts):
            return None
    elif len(segments) != len(parts):
        return None
    rank = []
    for part, segment in zip(parts, segments, strict=False):
        if part.startswith("{"):
            if segment == "":
                return None
            rank.append(1)
        elif part == segment or (fold and part.upper().casefold() == segment.upper().casefold()):
            rank.append(0)
        else:
            return None
    return tuple(rank)


def _of_one_shape(found: list[Operation], method: str) -> Operation | None:
    """Earlier rows win; HEAD is read as GET where no row names it before."""
    every = next((index for index, operation in enumerate(found) if not operation.methods), len(found))
    counted = found[: every + 1]
    for name in (method, "GET") if method == "HEAD" else (method,):
        for operation in counted:
            if name in operation.methods:
                return operation
    return counted[every] if every < len(counted) else None
