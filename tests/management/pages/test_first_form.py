from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.management.running import Managed, csrf_of, running


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Managed]:
    async with running(tmp_path) as managed:
        yield managed


async def form(app: Managed, cookie: str = "") -> tuple[str, str]:
    """The cookie that is set with a form (empty: none), and the form's token."""
    headers = {"Cookie": f"keystile-form={cookie}"} if cookie else {}
    async with ClientSession() as client, client.get(f"{app.url}/sign-in", headers=headers) as page:
        morsel = page.cookies.get("keystile-form")
        return morsel.value if morsel else "", csrf_of(await page.text())


async def test_every_browser_has_a_form_of_its_own(app: Managed) -> None:
    one, other = await form(app), await form(app)
    assert len({*one, *other}) == 4


async def test_the_page_does_not_hold_the_cookie(app: Managed) -> None:
    value, token = await form(app)
    assert value != token


async def test_a_browser_keeps_its_cookie(app: Managed) -> None:
    value, token = await form(app)
    assert await form(app, value) == ("", token)


@pytest.mark.parametrize("odd", ["x", "0" * 63, "G" * 64, "0" * 5_000])
async def test_a_cookie_that_is_not_of_our_making_is_replaced(app: Managed, odd: str) -> None:
    value, token = await form(app, odd)
    assert value not in ("", odd)
    assert token


async def test_a_cookie_of_the_form_lives_as_long_as_the_browser(app: Managed) -> None:
    async with app.client.get(f"{app.url}/sign-in") as page:
        morsel = page.cookies["keystile-form"]
        assert (morsel["max-age"], morsel["expires"], morsel["httponly"]) == ("", "", True)
