from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from keystile.management.context import SERVICES, services
from tests.management.running import running


async def test_a_handler_finds_the_parts_of_its_application(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        application = web.Application()
        application[SERVICES] = app.services
        assert services(make_mocked_request("GET", "/", app=application)) is app.services
