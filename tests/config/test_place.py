from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keystile.config.faults import ConfigurationError
from keystile.config.place import store_of

BROKEN = "upstreams: {api: {servers: [\n"


def place(tmp_path: Path, text: str) -> tuple[str, str]:
    file = tmp_path / "gateway.yaml"
    file.write_text(text, encoding="utf-8")
    found = store_of(file)
    return str(found.store.relative_to(tmp_path)), found.doubt


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("workers: many\nstore: sqlite:///data/keys.db\n", "data/keys.db"),
        ("workers: many\n", "keystile.db"),
        ("store: null\nnonsense: 1\n", "keystile.db"),
    ],
)
def test_whatever_else_is_wrong_the_store_is_found(tmp_path: Path, text: str, store: str) -> None:
    assert place(tmp_path, text) == (store, "")


@pytest.mark.parametrize(
    ("text", "store"),
    [
        (f"store: sqlite:///data/keys.db\n{BROKEN}", "data/keys.db"),
        (f'store:  "sqlite:///data/keys.db"  # here\n{BROKEN}', "data/keys.db"),
        (BROKEN, "keystile.db"),
        (f"store: sqlite:///a.db\nstore: sqlite:///b.db\n{BROKEN}", "keystile.db"),
        ("", "keystile.db"),
        ("- a list\n", "keystile.db"),
    ],
)
def test_where_the_text_is_no_settings_it_is_a_guess_and_says_so(tmp_path: Path, text: str, store: str) -> None:
    found, doubt = place(tmp_path, text)
    assert found == store
    assert "gateway.yaml" in doubt


@pytest.mark.parametrize(("store", "is_in_database"), [("postgresql://db/keys?sslmode=require", True), ("null", False)])
def test_a_store_in_a_database_is_told_from_a_file(tmp_path: Path, store: str, is_in_database: bool) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"store: {store}\n")
    assert store_of(file).in_database == is_in_database


def test_the_schema_is_not_asked() -> None:
    """It takes a fifth of a second to import, which is most of what keystile status takes."""
    program = "import sys, keystile.config.place; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_an_absolute_place_is_one(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("store: sqlite:////var/lib/keystile.db\n")
    assert store_of(file).store == Path("/var/lib/keystile.db")


@pytest.mark.parametrize("text", ["store: postgresql://db\n", "store: [a]\n", f"store: keys.db\n{BROKEN}"])
def test_a_place_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"gateway\.yaml.*store"):
        place(tmp_path, text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        store_of(tmp_path / "gateway.yaml")
