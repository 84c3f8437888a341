"""What this host says of itself among those that share its store.

Law: it gathers from the desk and judges nothing. What it says is for every operator of every host: no client address,
no secret, nobody's key; of the settings only a print (``config/fingerprint.py``), made once for each configuration.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import Final

from keystile import __version__, build
from keystile.config.fingerprint import print_of
from keystile.config.model import Settings
from keystile.management.processes import age_of
from keystile.process.desk import Desk
from keystile.process.snapshot import Snapshot
from keystile.storage.hosts import HostSays

MOST_TROUBLES: Final = 10
LONGEST: Final = 200
"""How many troubles are told, and how many characters of each."""


class Telling:
    """What the gateway of ``desk`` says; nothing while another process of it speaks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # The slot table lives from the start to the end of a gateway, over upgrades; its key is nobody else's to know.
        self._run = hashlib.sha256(b"keystile run\0" + desk.slots.hash_key).hexdigest()[:16]
        self._printed: tuple[int, bytes, str] = (0, b"", "")

    async def __call__(self, host_id: str, key: bytes) -> HostSays | None:
        """Say it under this id. Raises OSError where the supervisor is gone."""
        desk = self._desk
        if desk.standing_by or desk.watch is None:
            return None
        taken = desk.watch.accepted
        health = await desk.health()
        return HostSays(
            id=host_id,
            name=_name(taken.settings),
            run=self._run,
            program=__version__,
            build=build(),
            configuration=taken.number,
            settings=await self._print(taken, key),
            slots=slots_of(taken.settings),
            health=health.status,
            troubles=tuple(map(_short, (*health.reasons, *health.warnings)))[:MOST_TROUBLES],
            up=age_of(os.getppid()),
        )

    async def _print(self, taken: Snapshot, key: bytes) -> str:
        if self._printed[:2] != (taken.number, key):
            made = await asyncio.to_thread(print_of, taken.settings, taken.contents, key)
            self._printed = (taken.number, key, made)
        return self._printed[2]


def slots_of(settings: Settings) -> str:
    """Where slots are counted, in words, without who we are there."""
    lender = settings.slots
    return "by each host" if lender is None else f"by {lender.address} ({lender.when_unreachable})"


def _name(settings: Settings) -> str:
    chosen = None if settings.database is None else settings.database.host_name
    return chosen or os.uname().nodename or "unnamed"


def _short(trouble: str) -> str:
    said = trouble.replace("\0", "")
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
