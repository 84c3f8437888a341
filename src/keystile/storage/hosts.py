"""What the hosts that share a store in a database say of themselves, and the id under which this one does.

Law: values, and one small file beside what the host keeps of the store; no connection. The id is made once and says
nothing; whoever copies a host's folder copies its id too, which shows as soon as both are heard of.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keystile.storage.errors import told

UNHEARD: Final = 15.0
"""Seconds after which a host counts as not heard of: a few sayings may be late."""
_ID: Final = re.compile(rb"[0-9a-f]{16}")
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class HostSays:
    """What a host says: who it is, what it runs, and how it does.

    ``run``: another after each start of its gateway; ``up``: seconds since that. ``configuration``: the number that its
    log lines and metrics carry, which it counts by itself; ``settings``: a print, the same on hosts that run by the
    same. ``slots``: where it counts them. ``health``: ``ok``, ``degraded`` or ``failing``, because of ``troubles``.
    """

    id: str
    name: str
    run: str
    program: str
    build: str
    configuration: int
    settings: str
    slots: str
    health: str
    troubles: tuple[str, ...]
    up: float


@dataclass(frozen=True, slots=True)
class Host:
    """A host as it is known: what it ``says``, the schema of the store that it ``knows``, since when it runs and when
    it was heard of (Unix seconds by the database's clock, as ``asked``, when that was looked at)."""

    says: HostSays
    knows: int
    since: float
    heard: float
    asked: float

    @property
    def silent(self) -> float:
        """Seconds, then, since it was heard of."""
        return max(0.0, self.asked - self.heard)


@dataclass(frozen=True, slots=True)
class HostState:
    """A host, and how it stands to this one.

    ``here``: it is this one. ``silent``: seconds since it was heard of, and ``is_heard`` whether that is recent.
    ``other_program``, ``other_settings``, ``other_slots``: it differs from this one there.
    """

    says: HostSays
    knows: int
    since: float
    heard: float
    silent: float
    here: bool = False
    is_heard: bool = True
    other_program: bool = False
    other_settings: bool = False
    other_slots: bool = False


def id_file_of(mirror: Path) -> Path:
    """Return its path: keystile-mirror.db.host for keystile-mirror.db."""
    return mirror.with_name(f"{mirror.name}.host")


def known_id(mirror: Path) -> str | None:
    """This host's id; None where it has none yet, or the file holds something else."""
    try:
        return _read(id_file_of(mirror).read_bytes())
    except OSError:
        return None


def id_of(mirror: Path) -> str:
    """This host's id, made now where it has none; all who ask at once get the same. Raises StoreUnreadable."""
    return known_id(mirror) or _made(mirror, anew=False)


def new_id(mirror: Path) -> str:
    """Make another id for this host, whatever it had before. Raises StoreUnreadable."""
    return _made(mirror, anew=True)


def _made(mirror: Path, *, anew: bool) -> str:
    path = id_file_of(mirror)
    with told(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # whoever else makes one has to write a few bytes
            found = None if anew else _read(os.pread(fd, _LONGEST, 0))
            if found is None:
                found = secrets.token_hex(8)
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{found}\n".encode("ascii"), 0)
                os.fsync(fd)
        finally:
            os.close(fd)
    return found


def _read(content: bytes) -> str | None:
    found = _ID.fullmatch(content.strip())
    return None if found is None else found[0].decode("ascii")


def states_of(hosts: Iterable[Host], here: str | None, ago: float = 0.0) -> tuple[HostState, ...]:
    """The hosts beside the one whose id is ``here``, so many seconds after they were looked at."""
    known = tuple(hosts)
    this = next((each.says for each in known if each.says.id == here), None)
    return tuple(_state(each, this, ago) for each in known)


def _state(host: Host, this: HostSays | None, ago: float) -> HostState:
    says, silent = host.says, host.silent + ago
    known = (says, host.knows, host.since, host.heard, silent)
    if this is None:
        return HostState(*known, is_heard=silent <= UNHEARD)
    return HostState(
        *known,
        here=says.id == this.id,
        is_heard=silent <= UNHEARD,
        other_program=_program(says) != _program(this),
        other_settings=says.settings != this.settings,
        other_slots=says.slots != this.slots,
    )


def differences(states: Sequence[HostState]) -> tuple[str, ...]:
    """A sentence for each respect in which hosts that were heard of differ; before them one where this one was not."""
    heard = [each.says for each in states if each.is_heard]
    found = [
        *(_cut_off(each.silent) for each in states if each.here and not each.is_heard),
        _told("programs", heard, _program),
        _told("configurations", heard, lambda says: says.settings),
        _told("counts of slots", heard, lambda says: says.slots),
    ]
    return tuple(filter(None, found))


def _program(says: HostSays) -> str:
    return f"{says.program} ({says.build})"


def _cut_off(silent: float) -> str:
    said = f"This host was last heard of {silent:.0f} s ago"
    return f"{said}: it does not reach the database, so how the others do is not known here."


def _told(what: str, heard: Sequence[HostSays], of: Callable[[HostSays], str]) -> str:
    groups: dict[str, list[str]] = {}
    for says in heard:
        groups.setdefault(of(says), []).append(says.name)
    if len(groups) < 2:
        return ""
    most_first = sorted(groups.items(), key=lambda item: (-len(item[1]), item[1]))
    return f"Different {what}: {'; '.join(f'{value} on {_all(names)}' for value, names in most_first)}."


def _all(names: Sequence[str]) -> str:
    return ", ".join(names)
