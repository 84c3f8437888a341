from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.running import Running


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start gateways in the test's directory; they are gone when the test is over."""
    started: list[Running] = []

    def start(**how: Any) -> Running:
        started.append(Running(tmp_path, **how))
        return started[-1]

    yield start
    for each in started:
        each.close()
