"""What the service answers: a key with its secret, or a key without.

Law: values only. A secret that stands in one of them is never part of its repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from keystile.keys.key import ApiKey


class Unchanged(Enum):
    """The type of ``UNCHANGED``."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged.UNCHANGED
"""Says "leave the expiry as it is", where None says "never"."""


@dataclass(frozen=True, slots=True)
class Created:
    """A key with its secret, the only time it can be seen; ``warnings`` are for whoever asked."""

    key: ApiKey
    secret: str = field(repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A key that was edited or imported, with warnings for whoever asked."""

    key: ApiKey
    warnings: tuple[str, ...] = ()
