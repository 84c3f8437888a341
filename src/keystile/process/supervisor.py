"""The supervisor: makes what all processes share, keeps management and relays running, passes signals on.

Law: no HTTP, no SQL, no request ever comes by here. It must be the process that does not fail, so it does
little: every child has a *place*, and one task per place starts a child, waits for its end, cleans up after
it and starts the next one.

Signals: SIGTERM or SIGINT drains (relays serve on for ``drain_wait`` while health says that they go, then finish their
requests, at most ``drain_timeout``), a second one ends at once; SIGHUP has gateway.yaml read again. Exit code 0, or 1
when the gateway could not be started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from keystile.config.model import Settings
from keystile.process.acceptance import TAKEN_WITHIN, Acceptance, Standing
from keystile.process.charge import AT_ONCE, LEAVING
from keystile.process.child import Child, StartFailed, how_it_ended
from keystile.process.control import AlreadyRunning, Control
from keystile.process.log import log
from keystile.process.post import Message
from keystile.process.reloads import Reloads
from keystile.process.shared import Shared
from keystile.process.sockets import CannotListen

READY_WITHIN = 15.0
"""Seconds that a child has to begin its work."""
STEADY_AFTER = 1.0
"""Seconds of work after which a child's death is an accident, not a loop of crashes."""
LONGEST_PAUSE = 5.0
GRACE = 2.0
"""Seconds on top of ``drain_timeout`` before a relay that does not end is killed."""
LAST_WORDS = 3.0
"""Seconds that management has at the end to write what relays have handed over."""
LOOK_AT_MUTEX = 0.15
SILENT_AT_MOST = 15.0
"""Seconds without a sign of life (stopped, or stuck in one callback) after which a relay is killed and replaced."""
LOOK_FOR_LIFE = 1.0
RELAY, MANAGEMENT = "relay", "management"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the children are made of; tests put others in.

    ``relay``: ``module:function`` that builds a relay. ``counters``: the module that has the names of a
    relay's ``COUNTERS``, and which of them are ``GAUGES``. ``…_process`` are modules to execute; ``silent_at_most``
    and ``taken_within`` are in seconds.
    """

    relay: str = "keystile.app:build_relay"
    counters: str = "keystile.relay.record"
    relay_process: str = "keystile.process.relay"
    management_process: str = "keystile.process.management"
    silent_at_most: float = SILENT_AT_MOST
    taken_within: float = TAKEN_WITHIN


def serve(settings: Settings, *, announce: TextIO, parts: Parts | None = None) -> int:
    """Run the gateway until it is told to stop; returns the exit code.

    ``announce`` gets one line per listener when all is ready. Why it did not start goes to standard error.
    """
    try:
        with asyncio.Runner() as runner:
            return runner.run(_run(settings, announce, parts or Parts()))
    except (AlreadyRunning, StartFailed, CannotListen, OSError) as error:
        log(f"not started: {error}")
        return 1


async def _run(settings: Settings, announce: TextIO, parts: Parts) -> int:
    with closing(Control(settings.store)) as control:  # first: it is what makes this gateway the only one
        shared = Shared(settings)
        supervisor = Supervisor(shared, announce, parts)
        await control.start(supervisor.status, supervisor.reloads.ask, supervisor.reloads.compare)
        code = await supervisor.run()
    shared.close()
    return code


def pause_before(failures: int) -> float:
    """Seconds to wait before another start, after so many failures in a row: 0, 0.1, 0.2, 0.4 … 5."""
    return min(LONGEST_PAUSE, 0.1 * 2 ** min(failures - 2, 10)) if failures > 1 else 0.0


class Place:
    """Where a child stands; the place stays when the child dies. ``first``: done when one has got ready."""

    def __init__(self, role: str, number: int) -> None:
        self.role = role
        self.number = number
        self.child: Child | None = None
        self.at_work = False
        self.failures = 0
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Supervisor:
    """One run of the gateway."""

    def __init__(self, shared: Shared, announce: TextIO, parts: Parts) -> None:
        self._shared = shared
        self._acceptance = Acceptance(shared, self._relays, self._management, parts.taken_within)
        self._announce = announce
        self._parts = parts
        self._patience = parts.silent_at_most
        self._places: list[Place] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.reloads = Reloads(self._management)
        self._began = time.monotonic()
        self._stop = asyncio.Event()
        self._now = asyncio.Event()

    async def run(self) -> int:
        """Start, watch, stop. Raises what ``serve`` reports."""
        self._hear_signals()
        try:
            await self._start()
            if not self._stop.is_set():
                self._say_ready()
            await self._stop.wait()
            return 0
        finally:
            await self._end()

    # -- start ------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Management first: it makes the store that relays only read. Raises StartFailed."""
        self._begin(self._watch_mutex())
        self._begin(self._watch_life())
        for crew in ([Place(MANAGEMENT, 0)], [Place(RELAY, n + 1) for n in range(self._shared.settings.workers)]):
            self._places += crew
            for place in crew:
                self._begin(self._keep(place))
            await self._unless_stopped(asyncio.gather(*(place.first for place in crew)))

    async def _unless_stopped(self, started: asyncio.Future[list[None]]) -> None:
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((started, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if started.done():
            started.result()
        else:
            started.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Never go on half watched: a fault of the supervisor's own ends the gateway, loudly.
            log(f"internal error of the supervisor: {task.exception()!r}")
            self._stop.set()

    def _say_ready(self) -> None:
        try:
            self._announce.write("".join(f"{line}\n" for line in self._shared.announcement()))
            self._announce.flush()
        except OSError as error:
            log(f"could not announce the listeners: {error}")

    # -- keep the places filled -------------------------------------------------------------------------

    async def _keep(self, place: Place) -> None:
        """One place: child after child, until the gateway stops (or its first child fails)."""
        while not self._stop.is_set():
            steady = await self._one_life(place)
            if self._stop.is_set() or not place.first.done() or place.first.exception() is not None:
                return
            place.failures = 1 if steady else place.failures + 1
            await self._pause(pause_before(place.failures))
            self._shared.counters.add_restart()

    async def _pause(self, seconds: float) -> None:
        if seconds:
            try:
                await asyncio.wait_for(self._stop.wait(), seconds)
            except TimeoutError:
                return

    async def _one_life(self, place: Place) -> bool:
        """Start a child and wait for its end; True when it had been at work for a while."""
        try:
            child = place.child = self._spawn(place)
        except OSError as error:  # no memory, no descriptors: later perhaps
            self._on_failure(place, f"the {place.role} process could not be executed: {error}")
            return False
        started_from = self._shared.in_force.snapshot.number
        began = await self._until_ready(place, child)
        if began and place.role == RELAY:
            place.at_work = True
            self._begin(self._acceptance.bring_up_to_date(Standing(place.number, child), started_from))
        code = await child.ended
        worked = time.monotonic() - began if began else 0.0
        place.child, place.at_work = None, False
        if place.role == RELAY:
            self._shared.clean_up_after_relay(place.number, child.pid)
        if not self._stop.is_set():
            log(f"{place.role} {child.pid} {how_it_ended(code)}")
            if worked < STEADY_AFTER:
                died = f"{place.role} {child.pid} {how_it_ended(code)} at its start"
                self._begin(self._acceptance.doubt(started_from, died))
        return worked >= STEADY_AFTER

    def _spawn(self, place: Place) -> Child:
        parts = self._parts
        if place.role == RELAY:
            charge = self._shared.relay_charge(place.number, parts.relay)
            return Child.spawn(RELAY, parts.relay_process, charge, self._hear)
        charge = self._shared.management_charge(parts.counters)
        return Child.spawn(MANAGEMENT, parts.management_process, charge, self._hear)

    def _hear(self, child: Child, message: Message) -> None:
        """What a child says besides that it is ready, or is not."""
        if "reloaded" in message.content and child.role == MANAGEMENT:
            self.reloads.answered(message)
        elif "took" in message.content and child.role == RELAY:
            self._acceptance.taken(child, message)
        elif "offer" in message.content and child.role == MANAGEMENT:
            self._begin(self._acceptance.consider(message))
            return  # its file is kept
        else:
            log(f"{child.role} {child.pid} says what is not understood: {sorted(message.content)}")
        message.close()

    def _relays(self) -> list[Standing]:
        places = [place for place in self._places if place.role == RELAY and place.at_work]
        return [Standing(place.number, place.child) for place in places if place.child is not None]

    def _management(self) -> Child | None:
        here = self._children(MANAGEMENT)
        return here[0] if here else None

    async def _until_ready(self, place: Place, child: Child) -> float:
        """When it got ready; 0.0 if it did not, and then it has ended or is being ended."""
        try:
            await asyncio.wait_for(asyncio.shield(child.ready), READY_WITHIN)
        except StartFailed as error:
            self._on_failure(place, str(error))
        except TimeoutError:
            child.send_signal(signal.SIGKILL)
            self._on_failure(place, f"{place.role} process {child.pid} was not ready in {READY_WITHIN:g} s")
        else:
            if not place.first.done():
                place.first.set_result(None)
            return time.monotonic()
        return 0.0

    def _on_failure(self, place: Place, reason: str) -> None:
        if place.first.done():
            log(f"{place.role}: {reason}")
            return
        place.first.set_exception(StartFailed(reason))
        place.first.exception()  # asked for by `_start`, unless the gateway is stopping

    async def _watch_mutex(self) -> None:
        """End a process that is stopped (SIGSTOP) while it has the slots' mutex: all others wait for it."""
        suspect = 0
        while True:
            await asyncio.sleep(LOOK_AT_MUTEX)
            holder = self._shared.slots.holder()
            children = {child.pid: child for child in self._children()}
            if holder in children and holder == suspect and _is_stopped(holder):
                log(f"{children[holder].role} {holder} is stopped while it counts for all: killed")
                children[holder].send_signal(signal.SIGKILL)
            suspect = holder

    async def _watch_life(self) -> None:
        """End a relay that has been silent for long: whoever has a connection to it would wait without bound.

        It must be silent at two looks: after a pause of the whole machine everybody has been silent.
        """
        suspects: set[int] = set()
        while True:
            await asyncio.sleep(LOOK_FOR_LIFE)
            silent = {relay.pid for relay in self._shared.counters.relays() if relay.silent_for > self._patience}
            for child in self._children(RELAY):
                if child.pid in silent & suspects:
                    log(f"{child.role} {child.pid} gave no sign of life for {self._patience:g} s: killed")
                    child.send_signal(signal.SIGKILL)
            suspects = silent

    # -- stop -------------------------------------------------------------------------------------------

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_termination)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self.reloads.for_signal()))

    def _on_termination(self) -> None:
        if self._stop.is_set():
            self._now.set()
        self._stop.set()

    def _children(self, *roles: str) -> list[Child]:
        here = [place.child for place in self._places if not roles or place.role in roles]
        return [child for child in here if child is not None]

    async def _end(self) -> None:
        """Relays first, then management, which says until then that all is ending, and writes what they hand over."""
        asked_to = self._stop.is_set()
        self._stop.set()
        limits = self._shared.settings.limits
        for child in self._children(MANAGEMENT):
            child.tell_of({"leaving": True})
        relays = self._children(RELAY)
        for child in relays:
            child.drain(LEAVING if asked_to else AT_ONCE)
        if asked_to:
            await self._all_ended(relays, limits.drain_wait)
        self._shared.stop_listening()
        await self._see_end(relays, limits.drain_timeout + GRACE)
        management = self._children(MANAGEMENT)
        for child in management:
            child.drain()
        await self._see_end(management, LAST_WORDS)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _see_end(self, children: list[Child], within: float) -> None:
        """They end by themselves within so many seconds, or until told to end now; then they are killed."""
        await self._all_ended(children, within)
        for child in children:
            child.send_signal(signal.SIGKILL)
        await asyncio.gather(*(child.ended for child in children))

    async def _all_ended(self, children: list[Child], within: float) -> None:
        """Wait until they have ended, for so many seconds, or until told to end now."""
        if children:
            now = asyncio.ensure_future(self._now.wait())
            all_ended = asyncio.ensure_future(asyncio.wait([child.ended for child in children]))
            await asyncio.wait((all_ended, now), timeout=within, return_when=asyncio.FIRST_COMPLETED)
            now.cancel()
            all_ended.cancel()

    # -- status -----------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What ``keystile status`` shows."""
        processes = [{"role": "supervisor", "pid": os.getpid()}]
        processes += [{"role": child.role, "pid": child.pid} for child in self._children()]
        uptime = round(time.monotonic() - self._began, 3)
        changes = {"configurations_put_back": self._acceptance.put_back}
        return {"processes": processes, **self._shared.status(), **changes, "uptime": uptime}


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in "Tt"
