"""What people see while load is made: one line that renews itself on a terminal, else a plain line now and then.

Law: words and figures to one stream; nothing else is known here.
"""

from __future__ import annotations

from typing import Final, TextIO

from keystile.loadtest.objectives import duration
from keystile.loadtest.told import Progress

_EVERY: Final = 3.0
"""Seconds between two plain lines."""
_BAR: Final = 20


class Display:
    """Progress of a run of so many seconds on a stream."""

    def __init__(self, stream: TextIO, seconds: float, *, renews: bool) -> None:
        self._stream, self._seconds, self._renews = stream, seconds, renews
        self._before: Progress | None = None
        self._said = -_EVERY

    def show(self, now: Progress) -> None:
        """Show a moment."""
        before, self._before = self._before, now
        text = line(now, before, self._seconds)
        if self._renews:
            self._stream.write(f"\r\x1b[K{bar(now.at / self._seconds)} {text}")
        elif now.at - self._said >= _EVERY:
            self._said = now.at
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def finish(self) -> None:
        """Clear the line that renewed itself."""
        if self._renews and self._before is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def line(now: Progress, before: Progress | None, seconds: float) -> str:
    """A moment in words; requests a second since the one before."""
    since = now.at - before.at if before else now.at
    rate = (now.ended - (before.ended if before else 0)) / since if since > 0 else 0.0
    times = "".join(
        f" · {name} {duration(value)}" for name, value in (("p50", now.p50), ("p99", now.p99)) if value is not None
    )
    failed = f" · {now.wrong:,} failed" if now.wrong else ""
    return (
        f"{min(now.at, seconds):.0f}/{seconds:.0f} s · {rate:,.0f} requests/s{times} · "
        f"{now.refused:,} refused{failed} · {now.open} in flight"
    )


def bar(share: float) -> str:
    """How much is done."""
    full = round(_BAR * max(0.0, min(1.0, share)))
    return f"[{'#' * full}{' ' * (_BAR - full)}]"
