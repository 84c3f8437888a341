"""What users do is seen in tests/loadtest/test_tester.py, in a process of its own; here: that no other one has them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import keystile

SOURCES = Path(keystile.__file__).parent
PATCHED = {"locust", "gevent"}


def libraries(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_only_the_load_testers_own_process_imports_what_patches_python() -> None:
    patched = {str(file.relative_to(SOURCES)) for file in SOURCES.rglob("*.py") if libraries(file) & PATCHED}
    assert patched == {"loadtest/users.py", "loadtest/tester.py"}


def test_nobody_imports_the_load_testers_process() -> None:
    for file in SOURCES.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "tester.py":
            assert "import tester" not in text
            assert "loadtest.tester import" not in text
            assert "loadtest.users" not in text


def test_this_process_is_not_patched() -> None:
    assert "gevent.monkey" not in sys.modules


def test_whoever_reads_reports_needs_no_load_tester() -> None:
    code = (
        "import sys; sys.modules['locust'] = sys.modules['gevent'] = None;"
        "from keystile.loadtest import comparison, ground, records, report, running, preparing"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
