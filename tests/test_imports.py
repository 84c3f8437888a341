"""The import map as a test: who may know whom, read from the sources themselves.

Law: this file parses every module and runs none, so an import inside a function counts like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "keystile"
TESTS = ROOT / "tests"

# Imports point down. A part may import itself and what stands in its row; ARCHITECTURE.md shows the same map.
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),
    "keys": set(),
    "limits": {"config"},
    "cluster": {"config", "limits"},
    "wire": {"config", "limits"},
    "storage": {"keys"},
    "routing": {"config"},
    "relay": {"config", "keys", "limits", "wire", "storage", "routing", "cluster"},
    "management": {"config", "keys", "limits", "wire", "storage", "routing"},
    "app": {"config", "keys", "limits", "wire", "storage", "routing", "cluster", "relay", "management"},
    "process": {"config", "keys", "limits", "wire", "storage", "routing", "cluster", "relay", "management", "app"},
    # Load tests: settings and routes, the page's charts and words, and, for a demonstration, a whole gateway.
    "loadtest": {"config", "keys", "management", "app", "process"},
    "cli": {"config", "keys", "limits", "wire", "storage", "routing", "app", "process", "loadtest"},
}

# Libraries that only these parts may know: no SQL in the wire, no HTTP library on the way of a request.
ONLY_IN: dict[str, set[str]] = {
    "hiredis": {"cluster"},
    "aiohttp": {"management", "process", "cli"},
    "aiosqlite": {"storage"},
    "sqlite3": {"storage"},
    "argon2": {"storage"},
    "psycopg": {"storage"},
    "httptools": {"wire", "relay", "loadtest"},
    "pydantic": {"config", "management", "loadtest"},
    "jinja2": {"management", "loadtest"},
    "locust": {"loadtest"},
    "gevent": {"loadtest"},
    "markdown_it": {"management"},
    "opentelemetry": {"management"},
    "yaml": {"config", "routing"},
    "ssl": {"wire", "cluster", "config", "management", "process", "app", "loadtest"},
}
# Parts that must work without any socket, whatever they import.
WITHOUT_SOCKETS = {"keys", "routing", "config", "storage"}


def modules() -> list[Path]:
    return sorted(SOURCES.rglob("*.py"))


def part_of(file: Path) -> str:
    """``keys`` for src/keystile/keys/…, ``app`` for src/keystile/app.py, empty for the package itself."""
    relative = file.relative_to(SOURCES)
    if len(relative.parts) > 1:
        return relative.parts[0]
    return "" if relative.stem.startswith("__") else relative.stem


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file names in an import, as (absolute dotted name, line)."""
    package = ["keystile", *file.relative_to(SOURCES).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            # `from keystile import app` names keystile.app; `from keystile.keys import key`, keystile.keys.
            parts = [f"{name}.{alias.name}" for alias in node.names] if name == "keystile" else [name]
            yield from ((part, node.lineno) for part in parts)


def ours(name: str) -> str | None:
    """The part of ours that a dotted name belongs to; None for a library and for what the package says of itself."""
    top, _, rest = name.partition(".")
    if top != "keystile" or not rest or rest.startswith("__") or rest == "build":
        return None
    return rest.split(".")[0]


def test_imports_point_down() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in modules()
        if (part := part_of(file))
        for name, line in imports(file)
        if (other := ours(name)) and other != part and other not in MAY_IMPORT[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_a_library_is_known_only_where_it_belongs() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in modules()
        for name, line in imports(file)
        if (parts := ONLY_IN.get(name.split(".")[0])) and part_of(file) not in parts
    ]
    assert not wrong, "\n".join(wrong)


def test_the_domain_and_the_rules_open_no_sockets() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in modules()
        if part_of(file) in WITHOUT_SOCKETS
        for name, line in imports(file)
        if name.split(".")[0] in {"socket", "uvloop", "httptools", "aiohttp"}
    ]
    assert not wrong, "\n".join(wrong)


def test_every_part_stands_on_the_map() -> None:
    assert {part_of(file) for file in modules()} - {""} <= set(MAY_IMPORT)


def test_the_map_has_no_circle() -> None:
    done: set[str] = set()
    while ready := {part for part, below in MAY_IMPORT.items() if part not in done and below <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(SOURCES)))
def test_every_source_file_has_a_test_file_of_its_name(file: Path) -> None:
    if file.name in {"__init__.py", "__main__.py"}:
        return  # these only hand over
    relative = file.relative_to(SOURCES)
    assert (TESTS / relative.parent / f"test_{relative.name}").is_file()


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(SOURCES)))
def test_a_module_opens_with_its_law(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if file.name == "__init__.py" and not text.strip():
        return
    assert "Law:" in (ast.get_docstring(ast.parse(text)) or "")


def test_the_import_reader_sees_every_way_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "keys" / "sample.py"
    source.parent.mkdir()
    source.write_text(
        "import keystile.relay.admit\nfrom keystile import app\nfrom . import key\nfrom ..wire import heads\n"
        "def late() -> None:\n    from keystile.storage.sqlite import SqliteStore\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(f"{__name__}.SOURCES", tmp_path)
    found = [ours(name) for name, _ in imports(source)]
    assert found == ["relay", "app", "keys", "wire", "storage"]


def test_what_only_an_extra_brings_is_not_needed_without_it() -> None:
    """A plain install has no driver of a database, no hiredis, no Locust and no OpenTelemetry, and serves."""
    program = (
        "import sys\n"
        "for name in ('hiredis', 'psycopg', 'locust', 'gevent', 'opentelemetry'):\n"
        "    sys.modules[name] = None\n"
        "import keystile.cli.main, keystile.app, keystile.process.supervisor, keystile.process.relay\n"
        "import keystile.process.management, keystile.cli.demo, keystile.cli.serve\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
