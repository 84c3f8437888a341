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
from collections.abc import Awaitable, Coroutine
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from keystile import __version__, build
from keystile.config.model import Settings
from keystile.process import snapshot
from keystile.process.acceptance import ON_TRIAL, TAKEN_WITHIN, Acceptance, Standing
from keystile.process.charge import AT_ONCE, LEAVING, REPLACED
from keystile.process.child import Child, StartFailed, how_it_ended
from keystile.process.control import AlreadyRunning, Control, answer_on
from keystile.process.handover import SIGNALS, State
from keystile.process.log import log
from keystile.process.place import MANAGEMENT, RELAY, Place
from keystile.process.post import Message
from keystile.process.reloads import Reloads
from keystile.process.shared import Shared
from keystile.process.sockets import CannotListen
from keystile.process.succession import Succession
from keystile.process.upgrade import LAST_WORDS, REPLACED_WITHIN, Upgrade

STEADY_AFTER = 1.0
"""Seconds of work after which a child's death is an accident, not a loop of crashes."""
LONGEST_PAUSE = 5.0
GRACE = 2.0
"""Seconds on top of ``drain_timeout`` before a relay that does not end is killed."""
LOOK_AT_MUTEX = 0.15
SILENT_AT_MOST = 15.0
"""Seconds without a sign of life (stopped, or stuck in one callback) after which a relay is killed and replaced."""
LOOK_FOR_LIFE = 1.0


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


def resume(state: State) -> int:
    """Go on with a gateway that runs, whose supervisor this process was before an upgrade; returns the exit code."""
    with asyncio.Runner() as runner:
        return runner.run(_resume(state))


async def _run(settings: Settings, announce: TextIO, parts: Parts) -> int:
    with closing(Control(settings.store)) as control:  # first: it is what makes this gateway the only one
        shared = Shared(settings)
        code = await _supervise(control, Supervisor(shared, control, parts), announce)
    shared.close()
    return code


async def _resume(state: State) -> int:
    settings = snapshot.read(state.files.snapshot).settings
    with closing(Control(settings.store, (state.files.lock, state.files.control))) as control:
        shared = Shared(settings, state.files)
        supervisor = Supervisor(shared, control, Parts(**state.parts))
        supervisor.adopt(state)
        code = await _supervise(control, supervisor, None)
    shared.close()
    return code


async def _supervise(control: Control, supervisor: Supervisor, announce: TextIO | None) -> int:
    await control.start(supervisor.status, supervisor.reloads.ask, supervisor.reloads.compare, supervisor.upgrade.ask)
    return await supervisor.run(announce)


def pause_before(failures: int) -> float:
    """Seconds to wait before another start, after so many failures in a row: 0, 0.1, 0.2, 0.4 … 5."""
    return min(LONGEST_PAUSE, 0.1 * 2 ** min(failures - 2, 10)) if failures > 1 else 0.0


class Supervisor:
    """One run of the gateway."""

    def __init__(self, shared: Shared, control: Control, parts: Parts) -> None:
        self._shared = shared
        self._acceptance = Acceptance(shared, self._relays, self._management, parts.taken_within)
        self._parts = parts
        self._succession = Succession(control, shared, self._acceptance, parts)
        self._patience = parts.silent_at_most
        self.places: list[Place] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.reloads = Reloads(self._management)
        self.upgrade = Upgrade(self, self._acceptance.nothing_else, self.reloads.while_upgrading)
        self._adopted: State | None = None
        self._upgraded = float("-inf")
        self._serving = False
        self._began = time.monotonic()
        self._stop = asyncio.Event()
        self._now = asyncio.Event()

    async def run(self, announce: TextIO | None) -> int:
        """Start (or go on), watch, stop; ``announce`` is told when all is ready. Raises what ``serve`` reports."""
        self._hear_signals()
        try:
            self._begin(self._watch_mutex())
            self._begin(self._watch_life())
            if self._adopted is not None:
                self._go_on(self._adopted)
            else:
                await self._start()
            self._serving = not self._stop.is_set()
            if announce is not None and self._serving:
                self._say_ready(announce)
            await self._stop.wait()
            return 0
        finally:
            await self._end()

    # -- start ------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Management first: it makes the store that relays only read. Raises StartFailed."""
        relays = [Place(RELAY, seat, seat) for seat in range(1, self._shared.settings.workers + 1)]
        for crew in ([Place(MANAGEMENT, 0, 0)], relays):
            for place in crew:
                self.fill(place)
            await self.unless_stopped(asyncio.gather(*(place.first for place in crew)))

    def fill(self, place: Place) -> None:
        """Have a child work there from now on."""
        self.places.append(place)
        self._begin(self._keep(place))

    async def unless_stopped(self, started: Awaitable[Any]) -> None:
        """Wait for it, or for the gateway's end."""
        started = asyncio.ensure_future(started)
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

    def _say_ready(self, announce: TextIO) -> None:
        try:
            announce.write("".join(f"{line}\n" for line in self._shared.announcement()))
            announce.flush()
        except OSError as error:
            log(f"could not announce the listeners: {error}")

    # -- keep the places filled -------------------------------------------------------------------------

    async def _keep(self, place: Place) -> None:
        """One place: child after child, until the gateway stops, it is replaced, or its first child fails."""
        while not self._stop.is_set() and (place.leaves_by is None or place.child is not None):
            steady = await self._one_life(place)
            if not place.first.done() or place.first.exception() is not None:
                break
            if self._stop.is_set() or place.leaves_by is not None:
                break
            place.failures = 1 if steady else place.failures + 1
            await self._pause(pause_before(place.failures))
            self._shared.counters.add_restart()
        self.places.remove(place)

    async def _pause(self, seconds: float) -> None:
        if seconds:
            try:
                await asyncio.wait_for(self._stop.wait(), seconds)
            except TimeoutError:
                return

    async def _one_life(self, place: Place) -> bool:
        """See a child to its end, started here unless it was handed over; True when it had been at work for a while."""
        try:
            child = place.child = place.child or self._spawn(place)
        except OSError as error:  # no memory, no descriptors: later perhaps
            self._on_failure(place, f"the {place.role} process could not be executed: {error}")
            return False
        began = await self._until_ready(place, child)
        place.at_work = bool(began)
        if began and place.role == RELAY and place.leaves_by is None:
            standing = Standing(place.number, child)
            self._begin(self._acceptance.bring_up_to_date(standing, place.started_from))
        code = await child.ended
        worked = time.monotonic() - began if began else 0.0
        place.child, place.at_work = None, False
        if place.role == RELAY:
            self._shared.clean_up_after_relay(place.page, child.pid)
        if not self._stop.is_set() and place.leaves_by is None:
            self._on_death(place, f"{place.role} {child.pid} {how_it_ended(code)}", worked)
        return worked >= STEADY_AFTER

    def _on_death(self, place: Place, died: str, worked: float) -> None:
        since = time.monotonic() - self._upgraded
        log(f"{died}, {since:.0f} s after the upgrade to {__version__}" if since < ON_TRIAL else died)
        if worked >= STEADY_AFTER:
            place.early_deaths = 0
        elif place.first.done() and place.first.exception() is None:
            place.early_deaths += 1
            doubt = self._acceptance.doubt
            self._begin(doubt(place.started_from, place.started, place.early_deaths, f"{died} at its start"))

    def _spawn(self, place: Place) -> Child:
        parts = self._parts
        place.begin(self._shared.in_force.snapshot.number)
        if place.role == RELAY:
            charge = self._shared.relay_charge(place.number, parts.relay, place.page)
            return Child.spawn(RELAY, parts.relay_process, charge, self._hear)
        charge = self._shared.management_charge(parts.counters, standby=place.standby)
        return Child.spawn(MANAGEMENT, parts.management_process, charge, self._hear)

    # -- an upgrade (``upgrade.py``) --------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether the gateway ends."""
        return self._stop.is_set()

    @property
    def settled(self) -> bool:
        """Whether all that children held who have ended has been given back."""
        return not any(place.child is not None and place.child.ended.done() for place in self.places)

    def see_off(self, place: Place) -> None:
        """Fill it no more; its child finishes what it has begun."""
        bound = REPLACED_WITHIN if place.role == MANAGEMENT else self._shared.settings.limits.drain_timeout + GRACE
        place.leaves_by = time.monotonic() + bound
        if place.child is not None:
            place.child.drain(REPLACED)
            self._begin(self._see_leaving(place.child, place.leaves_by))

    async def _see_leaving(self, child: Child, by: float) -> None:
        """Kill it when its time is over."""
        await asyncio.wait([child.ended], timeout=max(0.0, by - time.monotonic()))
        child.send_signal(signal.SIGKILL)

    def take_over(self) -> None:
        """Have a management that stands by do its work."""
        for place in self.places:
            if place.standby and place.leaves_by is None:
                place.standby = False
                if place.child is not None:
                    place.child.tell_of({"take_over": True})

    async def pause(self) -> None:
        """Have questions wait for the next supervisor."""
        await self._succession.control.pause()

    async def go_on(self) -> None:
        """Answer them after all."""
        await self._succession.control.go_on()

    def state(self) -> State:
        """What the next supervisor is handed."""
        return self._succession.state(self.places, self._began)

    def adopt(self, state: State) -> None:
        """Know what the supervisor knew that this process was before, and have its children."""
        self._adopted = state
        self._began = state.began
        self._upgraded = time.monotonic()
        for place in self._succession.take_up(state, self._hear):
            self.fill(place)
            if place.child is not None and place.leaves_by is not None:
                self._begin(self._see_leaving(place.child, place.leaves_by))

    def _go_on(self, state: State) -> None:
        """What was signalled meanwhile is heard, and the one who asked is answered."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.take_over()
        told = state.report
        log(f"upgraded from {state.version} to {__version__}: {told['new']} in place of {told['old']}")
        if state.files.answer >= 0:
            answer_on(state.files.answer, {**told, "to": __version__})

    # -- what children say ------------------------------------------------------------------------------

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
        places = [place for place in self.places if place.role == RELAY and place.is_filled]
        return [Standing(place.number, place.child) for place in places if place.child is not None]

    def _management(self) -> Child | None:
        here = [place for place in self.places if place.role == MANAGEMENT and not place.standby]
        return next((place.child for place in here if place.leaves_by is None), None)

    async def _until_ready(self, place: Place, child: Child) -> float:
        """When it got ready; 0.0 if it did not, and then it has ended or is being ended."""
        try:
            await asyncio.wait_for(asyncio.shield(child.ready), place.within)
        except StartFailed as error:
            self._on_failure(place, str(error))
        except TimeoutError:
            child.send_signal(signal.SIGKILL)
            self._on_failure(place, f"{place.role} process {child.pid} was not ready in {place.within:g} s")
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
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._begin(self.upgrade.for_signal()))

    def _on_termination(self) -> None:
        if self._stop.is_set():
            self._now.set()
        self._stop.set()

    def _children(self, *roles: str) -> list[Child]:
        here = [place.child for place in self.places if not roles or place.role in roles]
        return [child for child in here if child is not None]

    async def _end(self) -> None:
        """Relays first, then management, which says until then that all is ending, and writes what they hand over."""
        # Of the end of what has not begun nobody has to be told first.
        asked_to = self._stop.is_set() and self._serving
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
        processes: list[dict[str, object]] = [{"role": "supervisor", "pid": os.getpid()}]
        processes += [place.described() for place in self.places if place.child is not None]
        uptime = round(time.monotonic() - self._began, 3)
        changes = {"configurations_put_back": self._acceptance.put_back}
        running = {"version": __version__, "build": build(), "processes": processes}
        return {**running, **self._shared.status(), **changes, "uptime": uptime}


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in "Tt"
