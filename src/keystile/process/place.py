"""Where a child stands; the place stays when the child dies.

Law: what is known of it, nothing that is done. A relay's place has a seat (from 1), which says which sockets are its
own, and a counter page: while an upgrade goes on, two places have one seat, and each has its own page.
"""

from __future__ import annotations

import asyncio
import time

from keystile.process.child import Child

READY_WITHIN = 60.0
"""Seconds that a child has to begin its work: a machine with far too much to do takes half of it to import it all, and
to be killed for that and begun again would never end."""
RELAY, MANAGEMENT = "relay", "management"


class Place:
    """``within``: the seconds that a child has to get ready. ``first``: done when one has got ready here.

    ``leaves_by``: once it is not filled any more, the moment (monotonic) at which its last child is killed; until then
    that finishes what it has begun. ``started_from``: the configuration by which its child was started, and ``started``
    when (monotonic). ``early_deaths``: how many children in a row have died here at their start by that configuration.
    """

    def __init__(self, role: str, number: int, page: int, within: float = READY_WITHIN) -> None:
        self.within = within
        self.role = role
        self.number = number
        self.page = page
        self.child: Child | None = None
        self.at_work = False
        self.standby = False
        self.failures = 0
        self.started_from = 0
        self.started = time.monotonic()
        self.early_deaths = 0
        self.leaves_by: float | None = None
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, configuration: int) -> None:
        """A child is being started by this configuration."""
        if configuration != self.started_from:
            self.early_deaths = 0
        self.started_from, self.started = configuration, time.monotonic()

    @property
    def is_filled(self) -> bool:
        """Whether a child works here that nobody has replaced."""
        return self.at_work and self.leaves_by is None and self.child is not None and not self.child.ended.done()

    def described(self) -> dict[str, object]:
        """For ``keystile status``."""
        assert self.child is not None
        said: dict[str, object] = {"role": self.role, "pid": self.child.pid}
        return said if self.leaves_by is None else {**said, "draining": True}
