"""Running the load tester: a process of its own, its progress, and a hard end.

Law: this file starts one process and ends it in any case; it knows Locust by name only. The process gets its plan
through a pipe and is gone when that is closed, so nothing goes on making load when we do not live.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import IO, Final

from keystile.loadtest import plan as plans
from keystile.loadtest import told
from keystile.loadtest.plan import Plan
from keystile.loadtest.told import Progress, Yield

MISSING: Final = "the load tester is not installed; install it with: pip install 'keystile[loadtest]'"
_START: Final = 30.0
_END: Final = 15.0
"""Seconds beyond the plan's own that the process may take to start, and to let requests end."""


class RunFailed(Exception):
    """The load tester could not do its work; the text says why."""


def is_installed() -> bool:
    """Whether the extra is there; nothing of it is imported for that."""
    return find_spec("locust") is not None


def run(planned: Plan, show: Callable[[Progress], None]) -> Yield:
    """Run a plan, showing progress as it comes. Raises RunFailed."""
    command = [sys.executable, "-m", "keystile.loadtest.tester"]
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C is for us, who end it.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        limit = threading.Timer(_START + planned.seconds + _END, process.kill)
        limit.start()
        try:
            process.stdin.write(plans.write(planned))
            process.stdin.flush()
            return _listen(process.stdout, show)
        except BrokenPipeError:
            raise RunFailed("the load tester did not start") from None
        finally:
            limit.cancel()
            process.kill()


def _listen(lines: IO[bytes], show: Callable[[Progress], None]) -> Yield:
    for line in lines:
        said = _read(line)
        if isinstance(said, Yield):
            if said.faults:
                raise RunFailed(f"the load tester failed: {said.faults[0]}")
            return said
        show(said)
    raise RunFailed("the load tester ended before its time")


def _read(line: bytes) -> Progress | Yield:
    try:
        return told.read(line)
    except ValueError:
        raise RunFailed("the load tester said something that cannot be read") from None
