from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.management.pages.ground import Pages, Person, pages


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Pages]:
    async with pages(tmp_path) as running:
        yield running


@pytest.fixture
async def ann(site: Pages) -> Person:
    return await site.person()
