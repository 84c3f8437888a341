"""Packages of npm that tests use (axe-core, the API's official clients): installed once, beside the tests.

Law: exactly what package-lock.json says, without running any script of theirs.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.lacking import lacks

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"


@cache
def package(name: str) -> Path:
    """The directory of a package. Skips where npm is not to be had, but not in CI, which installs it."""
    npm = shutil.which("npm")
    if npm is None:
        lacks("no npm here (Debian: apt install npm)")
    with (HERE / ".lock").open("w") as lock:  # tests may run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = MODULES / ".stamp", (HERE / "package-lock.json").read_text(encoding="utf-8")
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            stamp.write_text(wanted, encoding="utf-8")
    return MODULES / name
