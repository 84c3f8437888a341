"""gateway.yaml as it is written: its values with their places, and faults told at those places.

Law: this file joins lines, paths and faults for the parts that find faults; it knows no setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from keystile.config.faults import Fault, shown_value
from keystile.config.yamltext import Loc, Piece, path_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written:
    """One file: ``file`` as the operator named it, ``root`` its one mapping."""

    file: Path
    root: Piece

    @property
    def folder(self) -> Path:
        """What relative paths are relative to; not resolved, so that a linked file keeps its neighbours."""
        return self.file.absolute().parent

    def fault(self, loc: Loc, message: str, *, show: bool = False) -> Fault:
        """A fault at ``loc``; with ``show`` the message goes on after the value."""
        line, piece = self.root.at(loc)
        name = str(loc[-1]) if loc else ""
        value = shown_value(_outline(piece), name) if show else None
        return Fault(str(self.file), line, path_of(loc), value, message)

    def source(self, loc: Loc) -> str:
        """``gateway.yaml:12`` for people."""
        return f"{self.file.name}:{self.root.at(loc)[0]}"

    def get(self, *loc: str | int) -> Piece | None:
        """The value that stands exactly there; None where nothing does (null counts as nothing)."""
        piece = self.root
        for step in loc:
            inner = piece.item(step) if isinstance(step, int) else piece.field(step)
            if inner is None:
                return None
            piece = inner
        return None if piece.is_null else piece

    def items(self, *loc: str | int) -> list[Loc]:
        """The places of a list's items, or of a mapping's fields."""
        piece = self.get(*loc)
        if piece is None:
            return []
        steps: list[str | int] = list(range(len(piece.items or ()))) or [*(piece.fields or ())]
        return [(*loc, step) for step in steps]

    def read(self, read: Callable[[object], T], *loc: str | int) -> T | None:
        """What ``read`` makes of the value there; None if it stands not there or is a fault told elsewhere."""
        piece = self.get(*loc)
        if piece is None:
            return None
        try:
            return read(_outline(piece))
        except ValueError:
            return None


def _outline(piece: Piece) -> object:
    """The scalar, or an empty list or mapping for one: what it holds does not matter."""
    if piece.fields is not None:
        return {}
    return [] if piece.items is not None else piece.scalar
