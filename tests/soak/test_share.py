"""Processes are held to a share of a core, however it is done, and let go again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processor import cpu_of
from tests.soak import share

BUSY = "while True: pass"


def used(pid: int, seconds: float) -> float:
    before, began = cpu_of(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_of(pid) - before) / (time.monotonic() - began)


@pytest.mark.parametrize("places", [share.PLACES, (Path("/nowhere"),)])
def test_a_busy_process_gets_its_share_and_no_more(
    places: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "PLACES", places)
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        with share.share([busy.pid], 0.2) as how:
            assert ("SIGSTOP" in how) == (places != share.PLACES) or "bandwidth" not in how or places[0].exists()
            assert used(busy.pid, 1.0) < 0.5
        assert Path(f"/proc/{busy.pid}/stat").read_text().rpartition(")")[2].split()[0] in "RS"
    finally:
        busy.kill()
        busy.wait()
