"""How much processor time a process has used.

Law: one clock for all who ask. Source: clock_getcpuclockid(3), all threads of a process, those that have ended too, in
nanoseconds.
"""

from __future__ import annotations

import time


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used. Raises OSError where there is none."""
    return time.clock_gettime(~pid << 3 | 2)
