from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["usual", "networks"])
def test_100_000_keys_take_less_than_80_mib(kind: str) -> None:
    """Loading included; the time it takes is printed by the command and asserted nowhere."""
    measured = subprocess.run(
        [sys.executable, "-m", "tests.storage.measure_load", "100000", kind],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    figures = json.loads(measured.stdout)
    assert figures["keys"] == 100_000
    assert figures["peak_mib"] < 80
