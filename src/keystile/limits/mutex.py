"""A mutex in shared memory that outlives its owner: libc's robust, process-shared one.

Law: locking and nothing of what is locked. It is reached through ctypes with the interpreter's lock kept
(``PyDLL``): releasing that lock would cost more than the critical sections it is for. One thread per
process. Linux; ``holder`` needs glibc.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time

PATIENCE = 0.1
"""Seconds that ``enter`` may block for the mutex.

Normally nobody waits. A holder that was preempted inside comes back when the scheduler lets it: measured up
to 16 ms with 4 and 48 ms with 8 busy processes on 2 cores, so 5 ms would refuse requests that are within
their cap. A holder that is *stopped* would never come back; the supervisor ends it (``holder``).
"""
IMPATIENCE = 0.1
"""Seconds after a vain wait during which ``enter`` only tries and does not wait again."""
SPINS = 64
"""Tries before waiting: the critical section takes about a microsecond."""
SIZE = 256
"""Bytes to set aside: more than any libc needs for a mutex, or for its attributes."""

_OWNER_DIED = getattr(errno, "EOWNERDEAD", 130)
_TID_MASK = 0x3FFFFFFF  # FUTEX_TID_MASK

_libc = ctypes.PyDLL(None)
for _function in (_libc.pthread_mutex_trylock, _libc.pthread_mutex_unlock, _libc.pthread_mutex_consistent):
    _function.argtypes = [ctypes.c_void_p]
# The monotonic variant where libc has it (glibc 2.30): a clock set back must not make the wait long.
_clocklock = getattr(_libc, "pthread_mutex_clocklock", None)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    @classmethod
    def of(cls, instant: float) -> _Timespec:
        return cls(int(instant), int(instant % 1 * 1e9))


class Mutex:
    """The mutex in ``memory`` (``SIZE`` bytes of a shared mapping); ``make`` it once, from one process.

    For a hot path: ``error = mutex.trylock(mutex.at)``; 0 means that it is ours, otherwise ask
    ``enter(error)``; in the end ``mutex.unlock(mutex.at)``.
    """

    def __init__(self, memory: memoryview) -> None:
        self._word = memory[:4].cast("I")
        self._anchor: ctypes.c_char | None = ctypes.c_char.from_buffer(memory)
        self.at = ctypes.c_void_p(ctypes.addressof(self._anchor))
        self.trylock = _libc.pthread_mutex_trylock
        self.unlock = _libc.pthread_mutex_unlock
        self._impatient_until = 0.0

    def make(self) -> None:
        """Initialise the memory. Raises OSError where libc has no such mutexes."""
        attributes = ctypes.create_string_buffer(SIZE)
        _check(_libc.pthread_mutexattr_init(attributes))
        _check(_libc.pthread_mutexattr_setpshared(attributes, 1))  # PTHREAD_PROCESS_SHARED
        _check(_libc.pthread_mutexattr_setrobust(attributes, 1))  # PTHREAD_MUTEX_ROBUST
        _check(_libc.pthread_mutex_init(self.at, attributes))

    def shows_holder(self) -> bool:
        """Whether ``holder`` can be believed with this libc. Only while nobody else uses the mutex."""
        _check(self.trylock(self.at))
        shows = self.holder() == threading.get_native_id()
        _check(self.unlock(self.at))
        return shows

    def release(self) -> None:
        """Let go of the memory."""
        self._word.release()
        self._anchor = None

    def enter(self, error: int) -> bool:
        """Get the mutex after the first try failed with ``error``; False when it is not to be had in time.

        What a dead owner left locked is ours then: its writes are each whole, so there is nothing to repair.
        """
        tries = 0
        while error == errno.EBUSY and tries < SPINS:
            error = self.trylock(self.at)
            tries += 1
        if error == errno.EBUSY:
            error = self._wait()
        if error == _OWNER_DIED:
            error = _libc.pthread_mutex_consistent(self.at)
        if error in (errno.EBUSY, errno.ETIMEDOUT):
            return False
        _check(error)
        return True

    def _wait(self) -> int:
        """Sleep for the mutex, at most PATIENCE; not at all soon after a vain wait. Returns libc's error."""
        if time.monotonic() < self._impatient_until:
            return errno.EBUSY
        error = _timed_lock(self.at, PATIENCE)
        if error == errno.ETIMEDOUT:
            self._impatient_until = time.monotonic() + IMPATIENCE
        return error

    def holder(self) -> int:
        """The thread id that has the mutex at this moment, 0 when it is free. With glibc only."""
        return int(self._word[0] & _TID_MASK)


def _timed_lock(mutex: ctypes.c_void_p, seconds: float) -> int:
    if _clocklock is not None:
        until = _Timespec.of(time.monotonic() + seconds)
        return int(_clocklock(mutex, time.CLOCK_MONOTONIC, ctypes.byref(until)))
    until = _Timespec.of(time.time() + seconds)
    return int(_libc.pthread_mutex_timedlock(mutex, ctypes.byref(until)))


def _check(error: int) -> None:
    if error:
        raise OSError(error, f"mutex: {os.strerror(error)}")
