"""Which TLS versions a listener accepts at a moment: the floor, its retirement date, its rehearsals.

Law: a pure function of the policy and the wall clock. No state is flipped at the date, so all processes agree
and a date in the past holds from the first second. Knows no sockets, contexts or certificates.

All moments are Unix seconds (UTC). A span holds its start and not its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from enum import IntEnum


class Version(IntEnum):
    """Protocol versions by their number on the wire, so that they compare as they follow one another."""

    SSL_2 = 0x0002
    SSL_3 = 0x0300
    TLS_1_0 = 0x0301
    TLS_1_1 = 0x0302
    TLS_1_2 = 0x0303
    TLS_1_3 = 0x0304

    @classmethod
    def of(cls, text: str) -> Version:
        """From ``1.2`` or, as ``ssl`` says it, ``TLSv1.2`` (and ``TLSv1``). Raises ``KeyError`` for any other."""
        return _BY_NAME[text.removeprefix("TLSv")]

    def __str__(self) -> str:
        return _NAMES[self]


_NAMES = {
    Version.SSL_2: "SSL 2.0",
    Version.SSL_3: "SSL 3.0",
    Version.TLS_1_0: "1.0",
    Version.TLS_1_1: "1.1",
    Version.TLS_1_2: "1.2",
    Version.TLS_1_3: "1.3",
}
_BY_NAME = {name: version for version, name in _NAMES.items() if version >= Version.TLS_1_0} | {"1": Version.TLS_1_0}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Old versions are refused from ``start`` to just before ``end``. Raises ``ValueError`` where it is empty."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError("a rehearsal must end after it starts")


@dataclass(frozen=True, slots=True)
class Legacy:
    """Versions from ``minimum_version`` up are accepted until just before ``retire_at``, except in rehearsals.

    ``deprecated_at``: since or from when they are deprecated, for the header; ``retire_at`` where it is not given.
    """

    minimum_version: Version
    retire_at: float
    rehearsals: tuple[Rehearsal, ...] = ()
    deprecated_at: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """``minimum_version`` of a listener, and what older ones it accepts for some time.

    Raises ``ValueError`` where the legacy part is not older, or would need weak ciphers at 1.2 as well: below
    1.2 only beside a ``minimum_version`` of 1.2, so that no 1.2 client is ever given the old ciphers.
    """

    minimum_version: Version = Version.TLS_1_2
    legacy: Legacy | None = None

    def __post_init__(self) -> None:
        if self.minimum_version < Version.TLS_1_2:
            raise ValueError("the minimum version is 1.2 or 1.3; older ones belong to the legacy part")
        if self.legacy is None:
            return
        if not Version.TLS_1_0 <= self.legacy.minimum_version < self.minimum_version:
            raise ValueError("the legacy part's minimum version must be 1.0 or up and below the listener's")
        if self.minimum_version > Version.TLS_1_2 > self.legacy.minimum_version:
            raise ValueError("versions below 1.2 are possible only where the listener's minimum version is 1.2")

    def is_legacy(self, version: Version) -> bool:
        """Whether ``version`` is below what the listener keeps for good."""
        return version < self.minimum_version


def floor(policy: Policy, now: float) -> Version:
    """The lowest version that is accepted at ``now``."""
    legacy = policy.legacy
    if legacy is None or now >= legacy.retire_at or _rehearsed(legacy, now):
        return policy.minimum_version
    return legacy.minimum_version


def _rehearsed(legacy: Legacy, now: float) -> bool:
    return any(each.start <= now < each.end for each in legacy.rehearsals)


def is_retired(policy: Policy, now: float) -> bool:
    """Whether old versions are gone for good: nothing that serves them needs to be built."""
    return policy.legacy is None or now >= policy.legacy.retire_at


def next_change(policy: Policy, now: float) -> float | None:
    """The first moment after ``now`` at which the floor is another one; None where it stays."""
    legacy = policy.legacy
    if legacy is None:
        return None
    edges = {legacy.retire_at, *(edge for each in legacy.rehearsals for edge in (each.start, each.end))}
    here = floor(policy, now)
    # Overlapping rehearsals have edges at which nothing changes.
    return min((edge for edge in edges if edge > now and floor(policy, edge) != here), default=None)


@dataclass(frozen=True, slots=True)
class Announcement:
    """Values of the fields ``Deprecation`` (RFC 9745, a structured Date) and ``Sunset`` (RFC 8594, an HTTP-date)."""

    deprecation: str
    sunset: str


def announcement(policy: Policy, now: float) -> Announcement | None:
    """What answers on legacy connections carry at ``now``; None without a legacy part, and when it is over.

    RFC 9745 (section 4): the sunset is never before the deprecation.
    """
    legacy = policy.legacy
    if legacy is None or now >= legacy.retire_at:
        return None
    since = legacy.retire_at if legacy.deprecated_at is None else min(legacy.deprecated_at, legacy.retire_at)
    return Announcement(f"@{int(since)}", formatdate(legacy.retire_at, usegmt=True))
