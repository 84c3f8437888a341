"""When a host last heard from the database that what it keeps of it is up to date: a few bytes beside the file.

Law: this file knows times and nothing of keys. It is for one host: within one boot the steady clock counts, which
nobody sets; after another boot only the wall clock can say how long it has been, and where that went back, nobody can.

Little-endian: the boot's id (16 bytes), ``time.monotonic()``, ``time.time()``, CRC-32 of these.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from math import inf
from pathlib import Path

from keystile.storage.errors import told

_FORM = struct.Struct("<16sdd")
_SUM = struct.Struct("<I")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def confirmed_of(store: Path) -> Path:
    """Return its path: keystile-mirror.db.confirmed for keystile-mirror.db."""
    return store.with_name(f"{store.name}.confirmed")


class Confirmed:
    """The moment kept beside ``store``; ``boot``: 16 bytes that another start of the machine does not have."""

    def __init__(
        self,
        store: Path,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        boot: bytes | None = None,
    ) -> None:
        self._path = confirmed_of(store)
        self._clock = clock
        self._steady = steady
        self._boot = _boot() if boot is None else boot

    def note(self, ago: float = 0.0) -> None:
        """It was confirmed so many seconds ago. Raises StoreUnreadable."""
        kept = _FORM.pack(self._boot, self._steady() - ago, self._clock() - ago)
        with told(self._path):
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(fd, kept + _SUM.pack(zlib.crc32(kept)), 0)
            finally:
                os.close(fd)

    def age(self) -> float:
        """Seconds since it was confirmed; infinite where nobody knows."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return inf
        kept, check = content[: _FORM.size], content[_FORM.size :]
        if len(kept) != _FORM.size or check != _SUM.pack(zlib.crc32(kept)):
            return inf
        boot, steady, wall = _FORM.unpack(kept)
        age = float(self._steady() - steady if boot == self._boot else self._clock() - wall)
        return age if age >= 0 else inf


def _boot() -> bytes:
    try:
        return bytes.fromhex(_BOOT.read_text("ascii").strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)  # no such file: then every boot looks the same, and the steady clock begins anew below
