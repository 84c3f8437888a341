"""Slots: the right to have one request in flight, counted exactly over all relays of a host.

Law: shared memory, one mutex and counting. No event loop, no sockets, no HTTP; addresses appear only as
names of eight bytes.

How it counts. A row for each client address with requests in flight holds the address's name and one
16-bit count per *column*. A column belongs to one process for as long as that process lives, and only the
owner writes it. From this follows all the rest:

* Counting up needs the mutex (between looking at a row's sum and adding to it nobody else may add);
  counting down does not, since a smaller number seen late can only refuse, never admit.
* A process that dies takes nothing along: whoever waited for its end (the supervisor) sets its column to zero,
  and all it held is back. Nobody else may have the column before that.
* A row of zeros is free, whatever name stands in it. Nothing is ever deleted, memory never grows.
* A name stands in one row at most: a new row is taken only after the name's whole window was searched.
* No half-made change can be left by a kill inside the mutex: every write is one aligned store, and a name
  without a count is a free row. So whoever gets the mutex of a dead owner (EOWNERDEAD) just goes on.

One thread per process takes. Linux only (memfd, OFD record locks, robust mutexes).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import sys
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from keystile.limits import mutex
from keystile.limits.mutex import Mutex

FULL: Final = -1
"""The address has as many requests in flight as it may."""
CROWDED: Final = -2
"""No free row where this address could stand: very many addresses have requests in flight at once."""
UNAVAILABLE: Final = -3
"""The mutex was not to be had within ``mutex.PATIENCE``; its holder is stopped, or the host is choked."""

WINDOW: Final = 64
"""Rows, from the one that a name hashes to, in which the name may stand."""

_number_of: Final = struct.Struct("=Q").unpack
_number_of_hash: Final = struct.Struct("<Q").unpack
_TAIL: Final = 4
"""Bytes at the end of a name that are looked for first: what stands before them is the same in every IPv4 name."""
_ZEROS: Final = bytes(_TAIL)
_MAGIC: Final = b"KSTSLOT1"
LAYOUT: Final = _MAGIC.decode()
"""What has to be the same for two versions of this file to share a table; another layout gets another magic."""
_HEADER: Final = struct.Struct("=8sII16sI")  # magic, rows, columns, hash key, 1 if the lock word shows its owner
_HEADER_SIZE: Final = 4096
_MUTEX_AT: Final = 128
_OWNERS_AT: Final = 512
_MOST_COLUMNS: Final = (_HEADER_SIZE - _OWNERS_AT) // 4 // 4 * 4
_LANES: Final = 0xFFFF
_USUAL_STRIDE: Final = 4  # words of a row: 16 columns
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL if sys.platform == "linux" else 0


class NoColumn(Exception):
    """Every column has an owner: more processes than columns."""


def slot_name(ip: IPv4Address | IPv6Address, ipv6_prefix_length: int, key: bytes = b"") -> bytes:
    """The eight bytes that stand for a client address; never all zero.

    An IPv4-mapped IPv6 address is the IPv4 address. Up to /64 the name *is* the IPv6 prefix; a longer
    prefix does not fit and is hashed with ``key`` (two clients that collide are counted as one: fails
    closed). ``SlotTable.name_of`` gives the table's own key. IPv4 lies in 0000:0001::/32, which is
    reserved and never a client's.
    """
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return _name_of_ipv6(int(ip), ipv6_prefix_length, key)
        ip = ip.ipv4_mapped
    return name_of_ipv4(ip.packed)


def name_of_ipv4(packed: bytes) -> bytes:
    """``slot_name`` of an IPv4 address by its four bytes."""
    return b"\0\0\0\1" + packed


def _name_of_ipv6(number: int, prefix_length: int, key: bytes) -> bytes:
    prefix = number >> (128 - prefix_length) << (128 - prefix_length)
    if prefix_length > 64:
        return blake2b(prefix.to_bytes(16, "big"), digest_size=8, key=key).digest()
    return (prefix >> 64 or 1).to_bytes(8, "big")


class SlotTable:
    """The counts of all client addresses, in memory shared by supervisor, management and relays.

    The supervisor ``create``s it, children ``attach`` to the inherited ``fd``; a process that wants to
    ``take`` claims a column first, and whoever waits for that process's end calls ``clear_after``.
    ``columns`` should be at least twice the number of relays (old ones drain while new ones start) and is
    rounded up to a multiple of four; 896 at most.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.rows: int
        self.columns: int
        self.hash_key: bytes
        magic, self.rows, self.columns, self.hash_key, self._owner_shows = _HEADER.unpack_from(self._map)
        if magic != _MAGIC:
            raise ValueError("not a slot table")
        self.column = -1
        #: The row of the address that was last found to have as many as it may: a hint for its next try.
        self.full_row = -1
        self._last_name, self._last_number = b"", 0
        self._hasher = blake2b(digest_size=8, key=self.hash_key)
        self._all = memoryview(self._map)
        names_end = _HEADER_SIZE + self.rows * 8
        self._names = self._all[_HEADER_SIZE:names_end].cast("Q")
        self._counts = self._all[names_end:].cast("H")
        self._words = self._all[names_end:].cast("Q")
        self._owners = self._all[_OWNERS_AT : _OWNERS_AT + 4 * self.columns].cast("I")
        self._stride = self.columns // 4
        self.mutex = Mutex(self._all[_MUTEX_AT : _MUTEX_AT + mutex.SIZE])
        # Of their own for the hot path: an attribute less on the way.
        self._at, self._trylock, self._unlock = self.mutex.at, self.mutex.trylock, self.mutex.unlock
        # A file description of our own: OFD locks belong to it, and the inherited one is everybody's.
        self._lock_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)

    @classmethod
    def create(cls, rows: int = 32768, columns: int = 16) -> SlotTable:
        """A new table in a sealed memfd (1.3 MB by default). ``fd`` is inheritable."""
        rows, columns = max(rows, WINDOW), -(-columns // 4) * 4
        if columns > _MOST_COLUMNS:
            raise ValueError(f"{columns} columns, but {_MOST_COLUMNS} at most")
        fd = os.memfd_create("keystile-slots", os.MFD_ALLOW_SEALING)
        os.truncate(fd, _HEADER_SIZE + rows * 8 + rows * columns * 2)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        os.pwrite(fd, _HEADER.pack(_MAGIC, rows, columns, secrets.token_bytes(16), 0), 0)
        table = cls(fd)
        table.mutex.make()
        table._owner_shows = int(table.mutex.shows_holder())
        _HEADER.pack_into(table._map, 0, _MAGIC, rows, columns, table.hash_key, table._owner_shows)
        return table

    @classmethod
    def attach(cls, fd: int) -> SlotTable:
        """The table behind an inherited file descriptor. Raises ValueError for anything else."""
        return cls(fd)

    def close(self) -> None:
        """Let go of memory, column and file descriptor."""
        self.mutex.release()
        for view in (self._names, self._counts, self._words, self._owners, self._all):
            view.release()
        self._map.close()
        os.close(self._lock_fd)
        os.close(self.fd)

    # -- the hot path ---------------------------------------------------------------------------------

    def take(self, name: bytes, cap: int, row: int = -1) -> int:
        """Take one of ``cap`` slots of a name; give the row where it stood last, if known, as a hint.

        Returns the row (0 or more), to be handed to ``give_back`` and as hint to the next ``take``;
        otherwise FULL (the hint then is ``full_row``), CROWDED or UNAVAILABLE, and nothing is taken. Blocks for
        ``mutex.PATIENCE`` at most.
        """
        if name != self._last_name:  # a flood comes from one address, over many connections
            self._last_name, self._last_number = name, _number_of(name)[0]
        number = self._last_number
        # What this process holds by itself nobody else changes, and a row with a count keeps its name: a flood of
        # requests beyond the cap costs the others no turn at the mutex.
        if row >= 0 and self._counts[row * self.columns + self.column] >= cap and self._names[row] == number:
            self.full_row = row
            return FULL
        error = self._trylock(self._at)
        if error and not self.mutex.enter(error):
            return UNAVAILABLE
        try:
            if row < 0 or self._names[row] != number:
                row = self._place(name)
                if row < 0:
                    return CROWDED
            if self._total(row) >= cap:
                self.full_row = row
                return FULL
            self._counts[row * self.columns + self.column] += 1
            return row
        finally:
            self._unlock(self._at)

    def give_back(self, row: int) -> None:
        """Give back one slot taken at ``row``. Raises ValueError when this process holds none there."""
        self._counts[row * self.columns + self.column] -= 1  # below zero does not fit "H": ValueError

    def _total(self, row: int) -> int:
        # The lanes of 16 bits add up modulo 2^16 - 1, since 2^16 ≡ 1; sums stay far below (cap ≤ 10,000).
        words, first = self._words, row * self._stride
        if self._stride == _USUAL_STRIDE:  # a slice and a loop would take twice as long as all this
            return (words[first] + words[first + 1] + words[first + 2] + words[first + 3]) % _LANES
        return sum(words[first : first + self._stride]) % _LANES

    # -- where a name stands --------------------------------------------------------------------------

    def name_of(self, ip: IPv4Address | IPv6Address, ipv6_prefix_length: int) -> bytes:
        """``slot_name`` with this table's key."""
        return slot_name(ip, ipv6_prefix_length, self.hash_key)

    def _window(self, name: bytes) -> int:
        # Keyed: a client that owns many prefixes must not be able to fill one window on purpose.
        hasher = self._hasher.copy()  # a third less than one that takes the key each time
        hasher.update(name)
        number: int = _number_of_hash(hasher.digest())[0]
        return number % (self.rows - WINDOW + 1)

    def _find(self, name: bytes, window: int) -> int:
        number = _number_of(name)[0]
        if self._names[window] == number:  # where most stand
            return window
        start = _HEADER_SIZE + window * 8
        end = start + WINDOW * 8
        tail = name[-_TAIL:]
        if tail == _ZEROS:  # free rows consist of them
            tail = name
        size = len(tail)
        at = self._map.find(tail, start, end)
        while at >= 0:
            end_of = at + size - _HEADER_SIZE
            if end_of % 8 == 0 and self._names[end_of // 8 - 1] == number:  # else of another, or of two neighbours
                return end_of // 8 - 1
            at = self._map.find(tail, at + 1, end)
        return -1

    def _place(self, name: bytes) -> int:
        """The row of a name, or a free row made its own; -1 if none is free. Only under the mutex."""
        window = self._window(name)
        row = self._find(name, window)
        if row >= 0:
            return row
        for row in range(window, window + WINDOW):
            if not self._total(row):
                self._names[row] = _number_of(name)[0]
                return row
        return -1

    def holder(self) -> int:
        """The thread id that has the mutex at this moment; 0 when it is free (or libc does not show it)."""
        return self.mutex.holder() if self._owner_shows else 0

    # -- columns --------------------------------------------------------------------------------------

    def claim_column(self) -> int:
        """Own a column until ``clear_after`` this process's end. Raises NoColumn when all have owners.

        The record lock keeps two that claim at once apart, and no more: the kernel lets go of it when the last
        reference to the file is gone, which may be long after the owner's end (somebody may be looking into
        /proc). So who owns a column is written beside it.
        """
        for column in range(self.columns):
            if not self._owners[column] and self._lock_column(column):
                if not self._owners[column]:
                    self._owners[column] = os.getpid()
                    self.column = column
                    return column
                self._lock_column(column, fcntl.F_UNLCK)
        raise NoColumn(f"all {self.columns} columns of the slot table are in use")

    def clear_after(self, pid: int) -> list[int]:
        """Give back all that a process held which *has ended*; returns its columns (one, or none).

        Only for the one who has waited for that end: nothing here can tell that it is true.
        """
        cleared = [column for column in range(self.columns) if self._owners[column] == pid]
        for column in cleared:
            self._counts[column :: self.columns] = memoryview(array("H", bytes(2 * self.rows)))
            self._owners[column] = 0  # last: from here on it may have a new owner
        return cleared

    def _lock_column(self, column: int, kind: int = fcntl.F_WRLCK) -> bool:
        try:
            fcntl.fcntl(self._lock_fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, column, 1, 0))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: somebody else has it
            return False
        return True

    # -- looking on (no mutex: for status and metrics, true to within what is moving) ------------------

    def taken(self) -> int:
        """Slots taken, of all addresses together."""
        return sum(self._totals())

    def highest(self) -> int:
        """Slots taken by the address that has most."""
        return max(self._totals(), default=0)

    def count(self, name: bytes, row: int = -1) -> int:
        """Slots taken by one name; ``row``: where it stood last, if known."""
        if row < 0 or self._names[row] != _number_of(name)[0]:
            row = self._find(name, self._window(name))
        return self._total(row) if row >= 0 else 0

    def _totals(self) -> Iterator[int]:
        """The sums of rows that are not free; stretches of free rows are skipped by comparing bytes."""
        stretch, nothing = 64, bytes(64 * self.columns * 2)
        for first in range(0, self.rows, stretch):
            last = min(first + stretch, self.rows)
            words = self._words[first * self._stride : last * self._stride]
            if words.tobytes() != nothing[: words.nbytes]:
                yield from filter(None, map(self._total, range(first, last)))
