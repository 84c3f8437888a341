"""Every process below this one ends with it, whoever its parent was: an upgraded gateway is no child of ours any more.

Law: process ids and /proc, Linux only. Ends what descends from this process and was not there before, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER (prctl(2)): orphans below us become our children
_libc = ctypes.CDLL(None, use_errno=True)


class Adopted:
    """While it is entered, orphans become ours; when it is left, all that came to be below us is killed."""

    def __init__(self) -> None:
        self._before: set[int] = set()

    def __enter__(self) -> Adopted:
        _set_subreaper(True)
        self._before = set(below(os.getpid()))
        return self

    def __exit__(self, *_: object) -> None:
        for pid in set(below(os.getpid())) - self._before:
            _end(pid)
        _set_subreaper(False)


def below(root: int) -> list[int]:
    """All descendants of a process."""
    parents = dict(_parents())
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _parents() -> Iterable[tuple[int, int]]:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            yield int(place.name), int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):  # ended, or it was another's child and that one has waited
        return


def _set_subreaper(on: bool) -> None:
    if _libc.prctl(_SUBREAPER, int(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
