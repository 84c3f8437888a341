"""Is this the account's password? With what it costs to be wrong.

Law: the one place that looks at a password somebody has typed. An attempt is counted before that (``slowdown.py``),
and an account that is unknown makes for the same work as one that is known: the same questions to the file, a hash.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from keystile.keys.key import Account
from keystile.management import slowdown
from keystile.management.entry import SlowDown
from keystile.management.slowdown import ACCOUNT, ADDRESS, PAIR, Counted
from keystile.storage.attempts import AttemptStore, Rows
from keystile.storage.passwords import Passwords

KNOWN_FOR = 90 * 86400.0
"""Seconds for which an address counts as one from where the account has signed in."""
MOST_WAITING = 64
"""Passwords that may wait to be looked at; 40 a second get done, so nobody waits much longer than a second."""
_SOON = 2


class Checking:
    """Looks at passwords, one attempt at a time for each name; ``clock`` gives Unix seconds."""

    def __init__(self, passwords: Passwords, attempts: AttemptStore, clock: Callable[[], float]) -> None:
        self._passwords = passwords
        self._attempts = attempts
        self._clock = clock
        self._waiting = 0
        self.failures = 0
        """Attempts with a wrong password since the start."""
        self.slowed = 0
        """Attempts that were not looked at since the start."""

    async def check(self, account: Account | None, spelled: str, password: str, address: str) -> int | SlowDown | None:
        """Return the version of the account's password if this is it, None if not, or when to come again.

        ``account`` None: unknown; ``spelled``: the e-mail address in the spelling under which attempts count.
        """
        if self._waiting >= MOST_WAITING:
            self.slowed += 1
            return SlowDown(_SOON)
        self._waiting += 1
        try:
            counted = await self._count(account, spelled, address)
            if isinstance(counted, SlowDown):
                self.slowed += 1
                return counted
            version = await self._passwords.check(account.id if account else None, password)
        finally:
            self._waiting -= 1
        if version is None or account is None:
            self.failures += 1
            return None
        await self._give_back(counted)
        await self.know(account, address)
        return version

    async def know(self, account: Account, address: str) -> None:
        """Remember that the account signs in from this address."""
        network = slowdown.network_of(address)
        if network != slowdown.NOWHERE:
            await self._attempts.know(account.id, network, self._clock())

    async def forgive(self, account: Account) -> None:
        """Forget what has failed for the account, from wherever."""
        await self._attempts.forget(slowdown.name(ACCOUNT, account.email))

    async def _count(self, account: Account | None, spelled: str, address: str) -> Counted | SlowDown:
        network, now = slowdown.network_of(address), self._clock()
        known = await self._attempts.knows(account.id if account else "", network, now - KNOWN_FOR)
        limits = (PAIR if known else ACCOUNT, ADDRESS)
        first = slowdown.name(PAIR, spelled, network) if known else slowdown.name(ACCOUNT, spelled)
        names = (first, slowdown.name(ADDRESS, network))

        def step(rows: Rows) -> Rows | None:
            if slowdown.wait(rows, now) > 0:
                return None
            return tuple(slowdown.count(row, limit, now) for row, limit in zip(rows, limits, strict=True))

        before, after = await self._attempts.step(names, step, now)
        if after is None:
            return SlowDown(math.ceil(slowdown.wait(before, now)))
        return Counted(names, limits, before, after)

    async def _give_back(self, counted: Counted) -> None:
        def step(rows: Rows) -> Rows:
            return tuple(slowdown.give_back(row, counted, place) for place, row in enumerate(rows))

        await self._attempts.step(counted.names, step, self._clock())
