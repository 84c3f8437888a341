"""Upgrading the program while it runs: the order of it.

Law: order, and what happens where a step fails. Children are executed anew from the code that lies on disk, so new ones
are new already; the supervisor replaces itself by execve, and stays the same process (``handover.py``). The steps:

    the new code proves that it can take up the state (``proof.py``) → new relays get ready beside the old ones, on the
    same sockets → a new management gets ready beside the old one → the old ones are told to leave; what waits to be
    accepted, or comes, is the new ones' → the old management has ended → this process goes on as the new code

Until the old ones are told, nothing has changed: where a step fails, those who have begun leave again, and the answer
says why. After that there is no way back, but none is needed: the new ones are at work. Where only the exec fails, the
old supervisor goes on with the new children. What has been proved and fails later is replaced as ever, and told.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from keystile import __version__
from keystile.process import handover
from keystile.process.charge import LINGER
from keystile.process.child import Child, StartFailed
from keystile.process.handover import SIGNALS, State
from keystile.process.log import log
from keystile.process.place import MANAGEMENT, RELAY, Place

PROOF: Final = "keystile.process.proof"
NEXT: Final = "keystile.process.resume"
PROVED_WITHIN: Final = 30.0
"""Seconds that the new code has to look at the state."""
LAST_WORDS: Final = 5.0
"""Seconds that management has to finish requests and to write what relays have handed over (100,000 keys: 4 s)."""
REPLACED_WITHIN: Final = LINGER + LAST_WORDS
"""Seconds within which the old management has ended."""


class UpgradeFailed(Exception):
    """It did not take place; the message says why."""


class Crew(Protocol):
    """The supervisor, as far as an upgrade needs it."""

    places: list[Place]

    @property
    def stopping(self) -> bool:
        """Whether the gateway ends."""

    @property
    def settled(self) -> bool:
        """Whether all that children held who have ended has been given back."""

    def fill(self, place: Place) -> None:
        """Have a child work there from now on."""

    def see_off(self, place: Place) -> None:
        """Fill it no more; its child finishes what it has begun."""

    async def unless_stopped(self, started: Awaitable[Any]) -> None:
        """Wait for it, or for the gateway's end."""

    async def pause(self) -> None:
        """Have questions (``control.py``) wait for the next supervisor."""

    async def go_on(self) -> None:
        """Answer them after all."""

    def state(self) -> State:
        """What the next supervisor is handed."""

    def take_over(self) -> None:
        """Have a management that stands by do its work."""


class Upgrade:
    """``nothing_else``: keeps configurations from changing meanwhile. ``say``: told whether an upgrade is under way."""

    def __init__(self, crew: Crew, nothing_else: asyncio.Lock, say: Callable[[bool], None]) -> None:
        self._crew = crew
        self._nothing_else = nothing_else
        self._say = say
        self._underway = False

    async def ask(self, answer: int = -1) -> dict[str, Any]:
        """Do it. Returns only where there is no next supervisor that answers (on ``answer``, a connection)."""
        if self._underway:
            return {"fault": "another upgrade is under way"}
        self._underway = True
        self._say(True)
        try:
            async with self._nothing_else:
                return await self._steps(answer)
        except UpgradeFailed as failure:
            log(f"no upgrade, the gateway goes on as it was: {failure}")
            return {"fault": str(failure), "changed": False}
        finally:
            self._underway = False
            self._say(False)

    async def for_signal(self) -> None:
        """The same for SIGUSR2, which nobody waits for; what came of it is logged."""
        answer = await self.ask()
        if answer["fault"] == "another upgrade is under way":
            log(f"SIGUSR2: {answer['fault']}")

    # -- the steps --------------------------------------------------------------------------------------

    async def _steps(self, answer: int) -> dict[str, Any]:
        crew = self._crew
        old = [place for place in crew.places if place.leaves_by is None]
        new = self._places(old)
        version = await self._prove()
        report = {"fault": None, "changed": True, "from": __version__, "to": version, "old": _pids(old)}
        try:
            for role in (RELAY, MANAGEMENT):
                await self._get_ready([place for place in new if place.role == role])
            children = {place: place.child for place in new}
            self._check(children)
        except UpgradeFailed:
            for place in new:
                if place in crew.places:
                    crew.see_off(place)
            raise
        for place in old:
            crew.see_off(place)
        await _ended([place.child for place in old if place.role == MANAGEMENT and place.child is not None])
        return await self._go_on({**report, "new": _pids(new)}, answer)

    def _places(self, old: list[Place]) -> list[Place]:
        """One beside each that there is. Raises UpgradeFailed."""
        taken = {place.page for place in self._crew.places}
        seats = sorted(place.number for place in old if place.role == RELAY)
        free = [page for page in range(1, 2 * len(seats) + 1) if page not in taken]
        if len(free) < len(seats):
            raise UpgradeFailed("relays of the last upgrade still finish their requests; try again after them")
        places = [Place(RELAY, seat, page) for seat, page in zip(seats, free, strict=False)]
        management = Place(MANAGEMENT, 0, 0)
        management.standby = True
        return [*places, management]

    async def _prove(self) -> str:
        """The new code's version. Raises UpgradeFailed with what it has against the state."""
        state = self._crew.state()
        try:
            said = await asyncio.to_thread(_proof, state)
        finally:
            state.close()
        if said["fault"] is not None:
            raise UpgradeFailed(f"the new code ({said['version']}) cannot take up the state: {said['fault']}")
        return str(said["version"])

    async def _get_ready(self, places: list[Place]) -> None:
        for place in places:
            self._crew.fill(place)
        try:
            await self._crew.unless_stopped(asyncio.gather(*(place.first for place in places)))
        except StartFailed as failure:
            raise UpgradeFailed(f"the new code does not start: {failure}") from None

    def _check(self, children: dict[Place, Child | None]) -> None:
        """Whoever has got ready must still be there when the old ones leave."""
        if self._crew.stopping:
            raise UpgradeFailed("the gateway is stopping")
        for place in children:
            if not place.is_filled:
                raise UpgradeFailed(f"a new {place.role} has died before the old ones left")

    # -- the supervisor itself --------------------------------------------------------------------------

    async def _go_on(self, report: dict[str, Any], answer: int) -> dict[str, Any]:
        """Become the new code. Comes back only where that fails, or where the gateway is to stop."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        await self._crew.pause()
        await asyncio.sleep(0.01)  # what was signalled before is heard yet
        while not self._crew.settled:  # noqa: ASYNC110
            await asyncio.sleep(0)
        try:
            if self._crew.stopping:
                return {**report, "fault": "the gateway is stopping"}
            state = self._crew.state()
            files = replace(state.files, answer=os.dup(answer) if answer >= 0 else -1)
            state = replace(state, report=report, files=files)
            handover.execute(state, NEXT)
        except OSError as error:
            state.close()
            fault = f"the supervisor could not be replaced ({error}) and goes on; relays and management are new"
            log(fault)
            return {**report, "fault": fault}
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._crew.take_over()
            await self._crew.go_on()
        return report


def _pids(places: list[Place]) -> list[dict[str, object]]:
    return [{"role": place.role, "pid": place.child.pid} for place in places if place.child is not None]


async def _ended(children: list[Child]) -> None:
    """Wait for their end; they are killed after a while."""
    if children:
        await asyncio.wait([child.ended for child in children], timeout=REPLACED_WITHIN)
    for child in children:
        child.send_signal(signal.SIGKILL)
        await child.ended


def _proof(state: State) -> dict[str, Any]:
    """What the new code says to the state; ``version`` and ``fault``."""
    fd = state.seal()
    try:
        done = subprocess.run(
            handover.command(PROOF, fd),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(fd, *state.descriptors()),
            timeout=PROVED_WITHIN,
        )
    except subprocess.TimeoutExpired:
        return {"version": "unknown", "fault": f"it has not answered for {PROVED_WITHIN:g} s"}
    except OSError as error:
        return {"version": "unknown", "fault": f"it could not be executed: {error}"}
    finally:
        os.close(fd)
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        return {"version": said["version"], "fault": said["fault"]}
    except (ValueError, LookupError, TypeError):
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return {"version": "unknown", "fault": why[0]}
