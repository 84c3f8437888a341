"""Health: named checks, asked together, each within a bounded time.

Law: it knows how to ask and what answers mean, not what is asked. A check returns None when all is well,
otherwise the trouble in words that may be shown to anybody who can reach the management address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Check = Callable[[], Awaitable[str | None]]
PATIENCE = 2.0
"""Seconds that a check may take; one that takes longer is a trouble of its own."""


@dataclass(frozen=True, slots=True)
class Health:
    """``reasons``: why the gateway does not do its work. ``warnings``: what is wrong while it does."""

    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """``failing``, ``degraded`` or ``ok``."""
        return "failing" if self.reasons else "degraded" if self.warnings else "ok"

    @property
    def http_status(self) -> int:
        """503 only when it does not do its work."""
        return 503 if self.reasons else 200

    def to_dict(self) -> dict[str, object]:
        """For JSON; lists only where there is something to say."""
        said = {"reasons": list(self.reasons), "warnings": list(self.warnings)}
        return {"status": self.status, **{name: texts for name, texts in said.items() if texts}}


async def examine(vital: Mapping[str, Check], other: Mapping[str, Check]) -> Health:
    """Ask all checks at once; a trouble with a ``vital`` one is a reason, with an ``other`` one a warning."""
    checks = {**vital, **other}
    troubles = await asyncio.gather(*(_ask(name, check) for name, check in checks.items()))
    said = dict(zip(checks, troubles, strict=True))
    return Health(
        tuple(trouble for name in vital if (trouble := said[name])),
        tuple(trouble for name in other if (trouble := said[name])),
    )


async def _ask(name: str, check: Check) -> str | None:
    try:
        trouble = await asyncio.wait_for(check(), PATIENCE)
    except TimeoutError:
        return f"{name}: no answer within {PATIENCE:g} s"
    return f"{name}: {trouble}" if trouble else None
