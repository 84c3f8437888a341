"""gateway.yaml and the files it names: has anything changed, and what becomes of it.

Law: it reads and checks, and offers what is right (``acceptance.py`` does the rest); it changes nothing itself. A
file that is being written is left alone until two looks find it the same. What is wrong is said once, until
it is wrong in another way; the configuration in force stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from keystile.config.faults import ConfigurationError
from keystile.config.live import needs_restart
from keystile.config.model import Settings
from keystile.process import snapshot
from keystile.process.difference import compare
from keystile.process.log import log
from keystile.process.snapshot import Snapshot

EVERY: Final = 0.5
"""Seconds between two looks; a change is taken up after the second one that finds it."""
AGAIN_AFTER: Final = 5.0
"""Seconds after which what was wrong is read again: it may name a file that has come to be."""

Read = Callable[[Path], Settings]
Check = Callable[[Snapshot, Snapshot], object]
Offer = Callable[[Snapshot], Awaitable[str | None]]
Seen = dict[Path, tuple[int, int, int] | None]


@dataclass(frozen=True, slots=True)
class Report:
    """How the last reading ended: ``fault`` is empty where it was right; ``at`` in Unix seconds.

    ``number``: of the configuration in force. ``taken`` and ``failed`` count readings since the gateway began.
    """

    number: int
    at: float
    fault: str = ""
    changed: bool = False
    taken: int = 0
    failed: int = 0


class Watch:
    """``read`` raises ConfigurationError; ``check`` raises whatever keeps relays from working by a snapshot, and is
    given the one in force beside it;
    ``offer`` answers with why it is not taken, or None. ``taken`` and ``failed``: what the one before this counted.
    ``since``: since when nobody has watched, in Unix seconds, or None where nobody knows: where a file may have changed
    after that, all is read once. ``changed`` is set when another one is in force."""

    def __init__(
        self,
        accepted: Snapshot,
        read: Read,
        check: Check,
        offer: Offer,
        *,
        taken: int = 0,
        failed: int = 0,
        since: float | None,
    ) -> None:
        self.accepted = accepted
        self.report = Report(accepted.number, time.time(), taken=taken, failed=failed)
        self.changed = asyncio.Event()
        self.last = accepted.number
        """The highest number that was ever given, as far as is known here."""
        self._read = read
        self._check = check
        self._offer = offer
        self._reading = asyncio.Lock()
        self._named = _named_by(accepted.settings)
        self._before = _look_at(self._named)
        unknown = since is None or _may_have_changed(self._named, since)
        self._known: Seen = {} if unknown else self._before
        self._read_at = time.monotonic()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            seen = _look_at(self._named)
            still, self._before = seen == self._before, seen
            again = self.report.fault and time.monotonic() - self._read_at > AGAIN_AFTER
            if still and (seen != self._known or again):
                await self.reload()

    async def reload(self) -> Report:
        """Read it now, and offer it if it differs from what is in force."""
        async with self._reading:
            before = self.report.fault
            self._known = _look_at(self._named)
            fault, changed = await self._take_up()
            taken, failed = self.report.taken + changed, self.report.failed + bool(fault)
            self._read_at = time.monotonic()  # a wall clock that is set back must not put off the next reading
            self.report = Report(self.accepted.number, time.time(), fault, changed, taken, failed)
            if fault and fault != before:
                log(f"the configuration was not taken, {self.accepted.number} stays in force: {fault}")
            elif changed:
                log(f"configuration {self.accepted.number} is in force")
            elif before and not fault:
                log(f"the configuration is as it was again: {self.accepted.number}")
            return self.report

    async def compare(self, file: Path) -> dict[str, Any]:
        """What would change if ``file`` were taken: ``fault`` (or None), ``number`` of the configuration in force, and
        where there is no fault what ``difference.compare`` finds. Nothing changes."""
        accepted = self.accepted
        return {"number": accepted.number, **await asyncio.to_thread(self._compare, accepted, file)}

    def put_back(self, earlier: Snapshot, reason: str) -> None:
        """The supervisor has put an earlier configuration back in force."""
        self.last = max(self.last, self.accepted.number)
        self.accepted = earlier
        self.report = replace(self.report, number=earlier.number, fault=reason, failed=self.report.failed + 1)
        self.changed.set()

    async def _take_up(self) -> tuple[str, bool]:
        """Why it is not taken (or nothing), and whether it differs from what was in force."""
        try:
            wanted = await asyncio.to_thread(self._as_written)
            fixed = needs_restart(self.accepted.settings, wanted.settings)
            if fixed:
                return f"{', '.join(fixed)} cannot change while the gateway runs; restart it", False
            if wanted.settings == self.accepted.settings and wanted.files == self.accepted.files:
                return "", False
            await asyncio.to_thread(self._check, wanted, self.accepted)
            fault = await self._offer(wanted)
        except ConfigurationError as error:
            return str(error), False
        except OSError as error:  # ssl.SSLError is one
            return f"{type(error).__name__}: {error}", False
        except Exception as error:  # noqa: BLE001 - a fault of ours: it is told like theirs, and the watch goes on
            return _internal(error), False
        if fault is not None:
            return fault, False
        self.accepted, self.last = wanted, wanted.number
        self.changed.set()
        return "", True

    def _compare(self, accepted: Snapshot, file: Path) -> dict[str, Any]:
        try:
            wanted = snapshot.take(accepted.number + 1, self._read(file))
            self._check(wanted, accepted)
            return {"fault": None, **compare(accepted, wanted)}
        except ConfigurationError as error:
            return {"fault": str(error)}
        except OSError as error:
            return {"fault": f"{type(error).__name__}: {error}"}
        except Exception as error:  # noqa: BLE001 - a fault of ours: whoever asked must not wait for ever
            return {"fault": _internal(error)}

    def _as_written(self) -> Snapshot:
        """What is known is what was there before it was read: what is written meanwhile is another change.

        Files that were not named before were read without having been looked at, so all is read again.
        """
        while True:
            named = self._named
            before = _look_at(named)
            settings = self._read(self.accepted.settings.file)
            self._named = _named_by(settings) | _named_by(self.accepted.settings)
            if self._named <= named:
                self._known = {path: before[path] for path in self._named}
                return snapshot.take(self.last + 1, settings)


def _internal(error: Exception) -> str:
    """Logged whole, told in a word."""
    logging.getLogger(__name__).error("reading the configuration failed", exc_info=error)
    return f"internal error ({type(error).__name__})"


def _named_by(settings: Settings) -> frozenset[Path]:
    return frozenset((settings.file, *snapshot.files_of(settings)))


def _look_at(paths: Iterable[Path]) -> Seen:
    """What tells a file from one that was written since: None where there is none."""
    return {path: _identity(path) for path in paths}


def _may_have_changed(paths: Iterable[Path], since: float) -> bool:
    """Whether one of them is of that moment or later. By the time of its inode: what is moved into the place of another
    keeps the time at which it was written. One that is not there is looked for from now on."""
    for path in paths:
        with suppress(OSError):
            if path.stat().st_ctime >= since:
                return True
    return False


def began_at(process: int) -> float:
    """When a process was started, in Unix seconds; at most a tick too early. Raises OSError when it has ended."""
    with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])  # proc(5); the name before may hold anything
    up = ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + up


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
