from __future__ import annotations

import io
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from keystile.storage.setup_link import setup_file_of
from tests.management.running import ACTOR, PASSWORD, Managed, csrf_of, running

ANN, NEW = "ann@example.com", "a newer password"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Managed]:
    async with running(tmp_path) as managed:
        await managed.account(ANN)
        yield managed


async def send(app: Managed, token: str, **typed: str) -> ClientResponse:
    """Open the link, fill its form in, send it."""
    page = await app.page(f"/link?token={token}")
    fields = {"token": token, "password": NEW, "again": NEW, "csrf": csrf_of(page)}
    answer = await app.client.post(f"{app.url}/link", data=fields | typed, allow_redirects=False)
    await answer.read()
    return answer


async def test_a_link_leads_to_a_new_password_and_that_to_the_sign_in(app: Managed) -> None:
    token = await app.services.access.make_link(ANN, **ACTOR)
    page = await app.page(f"/link?token={token}")
    assert ANN in page
    answer = await send(app, token)
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?done=password-set")
    await app.sign_in(ANN, NEW)


async def test_looking_does_not_use_a_link_up(app: Managed) -> None:
    token = await app.services.access.make_link(ANN, **ACTOR)
    for _ in range(3):
        await app.page(f"/link?token={token}")
    assert (await send(app, token)).status == 303


@pytest.mark.parametrize("token", ["", "0" * 64, "%00", "%ed%a0%80", "é", "<b>"])
async def test_a_link_that_is_none_and_one_that_was_used_look_the_same(app: Managed, token: str) -> None:
    used = await app.services.access.make_link(ANN, **ACTOR)
    await send(app, used)
    assert await app.page(f"/link?token={token}", 410) == await app.page(f"/link?token={used}", 410)


async def test_the_token_goes_nowhere_but_into_the_form(app: Managed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = await app.services.access.make_link(ANN, **ACTOR)
    async with app.client.get(f"{app.url}/link?token={token}") as answer:
        page = await answer.text()
        assert token not in str(answer.headers)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
    assert len(re.findall(token, page)) == 1
    assert f'<input type="hidden" name="token" value="{token}">' in page
    answer = await send(app, token)
    assert token not in str(answer.headers) + await answer.text()
    assert token not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("keystile"))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"again": "something else"}, "The two passwords are not the same."),
        ({"password": "short", "again": "short"}, "A password has 8 to 1024 characters."),
    ],
)
async def test_what_is_wrong_is_said_and_the_link_stays_good(app: Managed, typed: dict[str, str], says: str) -> None:
    token = await app.services.access.make_link(ANN, **ACTOR)
    answer = await send(app, token, **typed)
    assert answer.status == 422
    page = await answer.text()
    assert says in page
    assert "something else" not in page
    assert (await send(app, token)).status == 303


async def test_a_form_that_was_not_opened_here_sets_no_password(app: Managed) -> None:
    token = await app.services.access.make_link(ANN, **ACTOR)
    for csrf in ("", "0" * 64):
        assert (await send(app, token, csrf=csrf)).status == 403
    await app.sign_in(ANN, PASSWORD)


async def test_using_a_link_signs_out_who_was_signed_in_to_that_account(app: Managed) -> None:
    await app.sign_in(ANN)
    token = await app.services.access.make_link(ANN, **ACTOR)
    page = await app.page(f"/link?token={token}")
    csrf = re.findall('name="csrf" value="([^"]+)"', page)[-1]  # the first is that of the sign-out button
    answer = await send(app, token, csrf=csrf)
    assert answer.status == 303
    assert answer.cookies["keystile"]["max-age"] == "0"
    assert "The password has been set." in await app.page("/sign-in?done=password-set")


async def test_a_link_can_end_management_tokens(app: Managed) -> None:
    account = await app.services.keys.find_account(ANN)
    await app.sign_in(ANN)
    session = next(iter(app.client.cookie_jar)).value
    identity = await app.services.access.session(session)
    assert identity is not None
    await app.services.access.create_token(identity, "nightly", None, **ACTOR)
    app.client.cookie_jar.clear()
    await send(app, await app.services.access.make_link(ANN, **ACTOR), end_tokens="on")
    assert await app.services.access.tokens(account) == ()


async def test_the_first_operator_makes_an_account(app: Managed) -> None:
    access, store = app.services.access, app.services.settings.store
    await access.offer_setup_link(app.url, io.StringIO())
    token = setup_file_of(store).read_text("utf-8").strip().partition("token=")[2]
    assert "Make the first account" in await app.page(f"/link?token={token}")
    assert (await send(app, token, email="none")).status == 422
    taken = await send(app, token, email=ANN)
    assert taken.status == 422
    assert "already an account" in await taken.text()
    assert (await send(app, token, email="operator@example.com")).status == 303
    assert not setup_file_of(store).exists()
    await app.sign_in("operator@example.com", NEW)
    await app.page("/operator")
    app.client.cookie_jar.clear()
    await app.page(f"/link?token={token}", 410)
