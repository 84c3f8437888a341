from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.orphans import Adopted, below

MAKES_AN_ORPHAN = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])"


def test_an_orphan_below_us_is_ended_and_what_was_there_before_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as before:
        here = set(below(os.getpid()))
        with Adopted():
            subprocess.run([sys.executable, "-c", MAKES_AN_ORPHAN], check=True)
            orphans = _once(lambda: [pid for pid in below(os.getpid()) if pid not in here])
            assert len(orphans) == 1
        assert not Path(f"/proc/{orphans[0]}").exists()
        assert before.poll() is None
        before.kill()


def _once(found: object) -> list[int]:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        if pids := found():  # type: ignore[operator]
            return list(pids)
        time.sleep(0.01)
    return []
