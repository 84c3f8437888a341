from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from yarl import URL

from keystile.management.access import SignedIn
from tests.management.running import ACTOR, PASSWORD, Managed, csrf_of, running

ANN, BOB = "ann@example.com", "bob@example.com"
NEW, WRONG = "a newer password", "battery staple"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Managed]:
    async with running(tmp_path) as managed:
        await managed.account(ANN)
        await managed.sign_in(ANN)
        yield managed


def secret(app: Managed) -> str:
    return app.client.cookie_jar.filter_cookies(URL(app.url))["keystile"].value


async def send(app: Managed, path: str, **fields: str) -> ClientResponse:
    page = await app.page("/account")
    answer = await app.client.post(app.url + path, data={"csrf": csrf_of(page)} | fields, allow_redirects=False)
    await answer.read()
    return answer


async def another_session(app: Managed, email: str = ANN) -> SignedIn:
    answer = await app.services.access.sign_in(email, PASSWORD, "198.51.100.7", "<b>Other</b>/1.0")
    assert isinstance(answer, SignedIn)
    return answer


async def test_the_account_is_for_who_has_signed_in(app: Managed) -> None:
    app.client.cookie_jar.clear()
    for method, path in (("GET", "/account"), ("POST", "/account/password"), ("POST", "/account/sessions/end")):
        answer = await app.client.request(method, app.url + path, allow_redirects=False)
        assert answer.status == 303
        assert answer.headers["Location"].startswith("/sign-in")


async def test_a_new_password_goes_on_with_a_new_session_and_ends_all_others(app: Managed) -> None:
    before, other = secret(app), await another_session(app)
    answer = await send(app, "/account/password", current=PASSWORD, new=NEW, again=NEW)
    assert (answer.status, answer.headers["Location"]) == (303, "/account?done=password-changed")
    assert secret(app) != before
    for ended in (before, other.secret):
        assert await app.services.access.session(ended) is None
    assert "Your password has been changed" in await app.page("/account?done=password-changed")
    app.client.cookie_jar.clear()
    await app.sign_in(ANN, NEW)


@pytest.mark.parametrize(
    ("typed", "says", "field"),
    [
        ({"current": WRONG}, "The current password is not right.", "current"),
        ({"again": WRONG}, "The two new passwords are not the same.", "again"),
        ({"new": "short", "again": "short"}, "A password has 8 to 1024 characters.", "new"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field(
    app: Managed, typed: dict[str, str], says: str, field: str
) -> None:
    answer = await send(app, "/account/password", **({"current": PASSWORD, "new": NEW, "again": NEW} | typed))
    page = await answer.text()
    assert answer.status == 422
    assert f'id="{field}-error" role="alert">{says}' in page
    assert not [text for text in (PASSWORD, NEW, WRONG) if text in page]
    app.client.cookie_jar.clear()
    await app.sign_in(ANN, PASSWORD)


async def test_guessing_the_current_password_is_slowed_down(app: Managed) -> None:
    answers = [await send(app, "/account/password", current=WRONG, new=NEW, again=NEW) for _ in range(8)]
    slowed = [answer for answer in answers if answer.status == 429]
    assert slowed
    assert int(slowed[0].headers["Retry-After"]) >= 1
    assert "Too many attempts" in await slowed[0].text()


async def test_sessions_are_shown_with_this_one_marked(app: Managed) -> None:
    assert "Sign out everywhere else" not in await app.page("/account")
    other = await another_session(app)
    page = await app.page("/account")
    assert "Sign out everywhere else" in page
    assert page.count("This one") == 1
    assert "198.51.100.7" in page
    assert "&lt;b&gt;Other&lt;/b&gt;/1.0" in page
    assert other.secret not in page
    assert other.identity.csrf not in page


async def test_one_signs_out_everywhere_else(app: Managed) -> None:
    await app.account(BOB)
    other, bobs = await another_session(app), await another_session(app, BOB)
    answer = await send(app, "/account/sessions/end")
    assert (answer.status, answer.headers["Location"]) == (303, "/account?done=sessions-ended")
    assert await app.services.access.session(other.secret) is None
    assert await app.services.access.session(bobs.secret)
    await app.page("/account")


async def test_a_new_password_ends_tokens_where_that_is_ticked(app: Managed) -> None:
    account = await app.services.keys.find_account(ANN)
    assert "end_tokens" not in await app.page("/account")
    await app.services.access.create_token((await another_session(app)).identity, "nightly", None, **ACTOR)
    assert "end_tokens" in await app.page("/account")
    await send(app, "/account/password", current=PASSWORD, new=NEW, again=NEW)
    assert len(await app.services.access.tokens(account)) == 1
    await send(app, "/account/password", current=NEW, new=PASSWORD, again=PASSWORD, end_tokens="on")
    assert await app.services.access.tokens(account) == ()


async def test_the_page_is_small(app: Managed) -> None:
    for _ in range(19):
        await another_session(app)
    assert len((await app.page("/account")).encode()) < 50 * 1024
