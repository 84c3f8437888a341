"""How another configuration takes the place of the one in force: the supervisor's part.

Law: order and bookkeeping; what a configuration says is checked by management, before it offers it. The steps:

    management offers it (sealed) → the sockets of its listeners are opened → every relay takes it
    → it is in force (children that start from now on start from it) → management is told

Where any relay refuses it, all take the old one again, and nothing has changed. A relay that does not answer is
killed: it would go on by the old one when it wakes up. Where one process after the other dies at its start in the same
place once it is in force, the one before it is put back.

Messages. From management: ``{"offer": number}`` with the snapshot. To relays: ``{"configuration": number}`` with the
snapshot and the listening sockets (``InForce.files_for``); from them ``{"took": number, "fault": text or null}``. To
management: ``{"considered": number, "fault": text or null, "last": number}``, and ``{"put_back": number}`` with the
snapshot that is in force again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from keystile.process import snapshot
from keystile.process.child import Child
from keystile.process.log import log
from keystile.process.post import Message
from keystile.process.shared import InForce, NotLive, Shared
from keystile.process.sockets import CannotListen

TAKEN_WITHIN = 10.0
"""Seconds within which a relay must have taken a configuration."""
ON_TRIAL = 30.0
"""Seconds after it was put in force within which deaths at the start are a new configuration's fault."""
DOUBTS = 2
"""So many deaths at the start in a row, in one place, are its fault. One may be anybody's (out of memory, kill -9), and
so may one in each of several places; what makes processes die lets none of them live."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A relay that runs, and its place (from 1)."""

    place: int
    child: Child


class Acceptance:
    """``relays``: those that are at work now; ``management``: the process, if one is; ``taken_within``: seconds."""

    def __init__(
        self,
        shared: Shared,
        relays: Callable[[], Iterable[Standing]],
        management: Callable[[], Child | None],
        taken_within: float = TAKEN_WITHIN,
    ) -> None:
        self._shared = shared
        self._relays = relays
        self._management = management
        self._patience = taken_within
        self._lock = asyncio.Lock()
        self.nothing_else = self._lock
        """Held while no configuration may be considered."""
        self._answers: dict[tuple[int, int], asyncio.Future[str | None]] = {}
        self._before: snapshot.Snapshot | None = None
        self._since = time.monotonic()
        self.last = shared.in_force.snapshot.number
        self.put_back = 0
        """How many configurations were put back because processes died by them."""

    async def consider(self, offered: Message) -> None:
        """Put the offered configuration in force, or say why not."""
        number, (fd,) = int(offered.content["offer"]), offered.files
        async with self._lock:
            fault = await self._put_in_force(snapshot.read(fd), fd)
        self._tell_management({"considered": number, "fault": fault, "last": self.last})

    def taken(self, child: Child, said: Message) -> None:
        """A relay has answered."""
        answer = self._answers.get((child.pid, int(said.content["took"])))
        if answer is not None and not answer.done():
            answer.set_result(said.content["fault"])

    async def bring_up_to_date(self, one: Standing, started_from: int) -> None:
        """A relay has got ready that started from an earlier configuration."""
        async with self._lock:
            if started_from != self._shared.in_force.snapshot.number:
                await self._have_it_taken([one])

    async def doubt(self, started_from: int, started: float, in_a_row: int, reason: str) -> None:
        """A process has died at its start: where the configuration was new then, the one before it comes back.

        ``started``: the moment (monotonic) at which it was started; how long it took to die says nothing.
        ``in_a_row``: how many have died so in its place by that configuration, this one included.
        """
        async with self._lock:
            number = self._shared.in_force.snapshot.number
            if self._before is None or started_from != number or started - self._since > ON_TRIAL:
                return
            if in_a_row < DOUBTS:
                return
            before = self._before
            log(f"configuration {number} is put back, because processes die by it: {reason}")
            fault = await self._put_in_force(before, snapshot.seal(before), again=True)
            self._before = None
            self.put_back += 1
            if fault is not None:
                log(f"configuration {before.number} could not be put back: {fault}")
        self._tell_management({"put_back": before.number, "fault": reason}, self._shared.in_force.fd)

    # -- over an upgrade (``handover.py``) ----------------------------------------------------------------

    def handed(self) -> tuple[dict[str, Any], int]:
        """What has to be remembered, and a descriptor of the snapshot that would be put back (-1: of none)."""
        told = {"last": self.last, "put_back": self.put_back, "since": self._since}
        return told, -1 if self._before is None else snapshot.seal(self._before)

    def remember(self, told: dict[str, Any], before: int) -> None:
        """What ``handed`` has said."""
        self.last, self.put_back = told["last"], told["put_back"]
        self._since = told["since"]
        if before >= 0:
            self._before = snapshot.read(before)
            os.close(before)

    # -- the steps --------------------------------------------------------------------------------------

    async def _put_in_force(self, wanted: snapshot.Snapshot, fd: int, *, again: bool = False) -> str | None:
        """None, or why it is not; then nothing has changed. ``fd`` is kept or closed here."""
        if wanted.number <= self.last and not again:
            os.close(fd)
            return f"its number is {wanted.number}, and there was a configuration {self.last}"
        self.last = max(self.last, wanted.number)
        try:
            prepared = self._shared.prepare(wanted, fd)
        except (NotLive, CannotListen) as error:
            os.close(fd)
            return str(error)
        relays = list(self._relays())
        faults = await self._have_taken(relays, prepared)
        if faults:
            await self._have_it_taken(relays)
            self._shared.forget(prepared)
            return faults[0]
        before = self._shared.put_in_force(prepared)
        self._before, self._since = before.snapshot, time.monotonic()
        os.close(before.fd)
        return None

    async def _have_taken(self, relays: list[Standing], wanted: InForce) -> list[str]:
        """Have these relays take it; the faults of those who refuse. Who dies meanwhile is no fault."""
        return [fault for fault in await asyncio.gather(*(self._hand_over(one, wanted) for one in relays)) if fault]

    async def _have_it_taken(self, relays: list[Standing]) -> None:
        """Have these relays take what is in force; whoever will not is replaced by one that starts from it."""
        for one in relays:
            for fault in await self._have_taken([one], self._shared.in_force):
                log(f"relay {one.child.pid} does not take the configuration in force: {fault}: killed")
                one.child.send_signal(signal.SIGKILL)

    async def _hand_over(self, one: Standing, wanted: InForce) -> str | None:
        child, number = one.child, wanted.snapshot.number
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._answers[child.pid, number] = answer
        try:
            child.tell({"configuration": number}, wanted.files_for(one.place))
            await asyncio.wait((answer, child.ended), timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        except OSError as error:
            log(f"relay {child.pid} cannot be told of configuration {number}: {error}")
        except ValueError as error:
            return str(error)  # more sockets than one message can carry
        finally:
            del self._answers[child.pid, number]
        if answer.done():
            return answer.result()
        if not child.ended.done():
            log(f"relay {child.pid} has not taken configuration {number} in {self._patience:g} s: killed")
            child.send_signal(signal.SIGKILL)
        return None

    def _tell_management(self, content: dict[str, object], *files: int) -> None:
        child = self._management()
        if child is None:
            return  # it is being replaced; the next one starts from what is in force
        try:
            child.tell(content, files)
        except OSError as error:
            log(f"management {child.pid} cannot be told of a configuration: {error}")
