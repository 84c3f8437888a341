"""What stands in deploy/ and docs/deploy.md, read for tests; and what the tools that check it need to be found.

Law: reads files and looks for programs; knows nothing of what is right.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from tests.lacking import lacks

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "deploy.md"

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def unit(*files: Path) -> dict[str, list[str]]:
    """Every setting of the [Service] sections of a unit and its drop-ins, with all its values in order."""
    found: dict[str, list[str]] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").partition("[Service]")[2].partition("[Install]")[0].splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                found.setdefault(name, []).append(value)
    return found


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks of ``language`` in the section of docs/deploy.md with this heading, in order."""
    sections = re.split(r"^#+ (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = [text for title, text in zip(sections[1::2], sections[2::2], strict=True) if title == heading]
    return [content for name, content in _FENCED.findall(text) if name == language]


def program(name: str, where_from: str, *, in_ci: bool = True) -> str:
    """Where a tool is: beside this Python, or on the path. Skips where it is not, but not in CI where that has it."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=f"{beside}:{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        lacks(f"{name} is not installed: {where_from}", not_even_in_ci=not in_ci)
    return found
