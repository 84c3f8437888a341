"""Processes held to a share of one core, so that a small load is several times what they carry.

Law: the kernel's bandwidth control where a group of our own can be made (cgroup 1 or 2), otherwise SIGSTOP and SIGCONT
in turns. Only the processes that it is given; the group is gone at the end. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PERIOD = 0.01
"""Seconds in which the share is used up: short, so that it is slow rather than standing still in turns."""
PLACES = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))


@contextlib.contextmanager
def share(pids: list[int], part: float) -> Iterator[str]:
    """Hold these processes together to ``part`` of one core; how it is done."""
    for place in PLACES:
        group = place / f"keystile-soak-{os.getpid()}"
        try:
            group.mkdir()
            _bound(group, part)
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            for pid in pids:
                (group / "cgroup.procs").write_text(str(pid))
            yield f"bandwidth of {place}"
        finally:
            for pid in pids:
                with contextlib.suppress(OSError):  # it has ended
                    (place / "cgroup.procs").write_text(str(pid))
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    with _in_turns(pids, part):
        yield "SIGSTOP and SIGCONT"


def _bound(group: Path, part: float) -> None:
    quota, period = round(PERIOD * 1e6 * part), round(PERIOD * 1e6)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(period))
        (group / "cpu.cfs_quota_us").write_text(str(max(1000, quota)))
    else:
        (group / "cpu.max").write_text(f"{max(1000, quota)} {period}")


@contextlib.contextmanager
def _in_turns(pids: list[int], part: float) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        while not over.wait(PERIOD * part):
            _send(pids, signal.SIGSTOP)
            time.sleep(PERIOD * (1 - part))
            _send(pids, signal.SIGCONT)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _send(pids, signal.SIGCONT)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
