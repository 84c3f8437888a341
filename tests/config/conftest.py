from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keystile.config.faults import ConfigurationError, Fault
from keystile.config.load import load
from keystile.config.model import Settings
from keystile.routing.conflicts import check_conflicts
from keystile.routing.openapi import read_operations

#: The least that runs; what a test adds comes before it.
LEAST = """\
upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}
routes:
  - {path: /x, scope: X, upstream: api}
"""

Load = Callable[[str], Settings]
Faults = Callable[[str], list[Fault]]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Loads a text as gateway.yaml of an otherwise empty folder."""

    def run(text: str) -> Settings:
        file = tmp_path / "gateway.yaml"
        file.write_text(text, encoding="utf-8")
        return load(file, read_document=read_operations, check_operations=check_conflicts)

    return run


@pytest.fixture
def with_settings(load_text: Load) -> Load:
    """Loads settings in front of the least that runs."""
    return lambda text: load_text(f"{text}\n{LEAST}")


@pytest.fixture
def faults_of(load_text: Load, tmp_path: Path) -> Faults:
    """The faults of a text; there must be some."""

    def run(text: str) -> list[Fault]:
        with pytest.raises(ConfigurationError) as caught:
            load_text(text)
        return caught.value.faults

    return run


@pytest.fixture
def lines_of(faults_of: Faults, tmp_path: Path) -> Callable[[str], list[str]]:
    """The faults of a text as people see them, without the folder."""
    return lambda text: [str(fault).replace(f"{tmp_path}/", "") for fault in faults_of(text)]


@pytest.fixture
def lines_with(lines_of: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """As ``lines_of``, of settings in front of the least that runs."""
    return lambda text: lines_of(f"{text}\n{LEAST}")
