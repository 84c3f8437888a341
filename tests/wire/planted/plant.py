"""Put a planted fault into a copy of the source, and let its family's own rows look for it.

Law: never touches the source itself; the copy lives as long as one fault does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.wire.planted.faults import Planted

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "src"
#: Seconds that one family's rows may take; a fault may make every row wait.
PATIENCE = 240.0


class DoesNotApply(Exception):
    """The source has changed: the text that a fault replaces is not there exactly once."""


@dataclass(frozen=True, slots=True)
class Found:
    """``row``: the first row that noticed, or None; ``rows``: how many of the family there were to notice."""

    fault: Planted
    row: str | None
    rows: int
    said: str = ""


def edited(fault: Planted, source: Path = SOURCE) -> dict[str, str]:
    """The files of ``fault`` as it leaves them. Raises ``DoesNotApply``."""
    texts: dict[str, str] = {}
    for name, old, new in fault.edits:
        text = texts.get(name) or (source / "keystile" / name).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise DoesNotApply(f"{fault.family}: {name} has {text.count(old)} times: {old.strip()[:90]}")
        texts[name] = text.replace(old, new)
    return texts


def look_for(fault: Planted) -> Found:
    """Plant ``fault`` in a copy and run its family's rows. Raises ``DoesNotApply``."""
    texts = edited(fault)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "src"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name, text in texts.items():
            (copy / "keystile" / name).write_text(text, encoding="utf-8")
            compile(text, name, "exec")
        return _run(fault, copy)


def unchanged(family: str) -> Found:
    """Run a family's rows against the source as it is."""
    return _run(Planted(family, "nothing", ()), SOURCE)


def _run(fault: Planted, source: Path) -> Found:
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.wire.planted.family", fault.family]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return Found(fault, None, 0, f"its rows were not over after {PATIENCE:g} s")
    last = re.search(r"^rows (\d+) failed (.*)$", done.stdout, re.MULTILINE)
    if last is None:
        return Found(fault, None, 0, done.stdout[-2000:] + done.stderr[-2000:])
    return Found(fault, last[2] if done.returncode == 1 and last[2] != "-" else None, int(last[1]), done.stdout[-2000:])
