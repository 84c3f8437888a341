"""What the tests of the API share: a running application, and two people who use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.management.api.checked import Api, User, api_client
from tests.management.running import running


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path) as app, api_client() as client:
        yield Api(app, client)


@pytest.fixture
async def ann(api: Api) -> User:
    return await api.user("ann@example.com")


@pytest.fixture
async def bob(api: Api) -> User:
    return await api.user("bob@example.com")


@pytest.fixture
async def operator(api: Api) -> User:
    return await api.user("operator@example.com", operator=True)
