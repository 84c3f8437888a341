"""That what stands in the Makefile and .ci/run is true for this package; for deploy/ there is tests/deploy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_ci_can_be_executed_and_is_a_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("target", ["run", "test", "check", "bench", "clean"])
def test_the_makefile_has_its_targets(target: str) -> None:
    make = shutil.which("make")
    assert make, "make is what runs these tests"
    done = subprocess.run([make, "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
