from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from keystile.management.access import SignedIn
from keystile.management.pages.tokens import USUAL_DAYS
from keystile.management.tokens import MOST_TOKENS
from tests.management.running import ACTOR, PASSWORD, Managed, csrf_of, running

ANN, BOB = "ann@example.com", "bob@example.com"
SECRET = re.compile("kst_[0-9a-f]{64}")
NUMBER = re.compile('name="form" value="([0-9a-f]+)"')


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Managed]:
    async with running(tmp_path) as managed:
        await managed.account(ANN)
        await managed.sign_in(ANN)
        yield managed


async def send(app: Managed, path: str = "/account/tokens/new", **fields: str) -> ClientResponse:
    page = await app.page(path)
    found = NUMBER.search(page)
    hidden = {"csrf": csrf_of(page)} | ({"form": found[1]} if found else {})
    answer = await app.client.post(app.url + path, data=hidden | fields, allow_redirects=False)
    await answer.read()
    return answer


async def created(app: Managed, name: str = "nightly") -> str:
    """A new token's secret, from the one answer that shows it."""
    answer = await send(app, name=name, expires="")
    assert answer.status == 200
    found = SECRET.findall(await answer.text())
    assert len(found) == 1
    return str(found[0])


async def only_id(app: Managed) -> str:
    (token,) = await app.services.access.tokens(await app.services.keys.find_account(ANN))
    return token.id


async def test_a_token_is_shown_once_and_then_by_its_last_five(app: Managed) -> None:
    secret = await created(app)
    page = await app.page("/account")
    assert secret not in page
    assert f"•••…{secret[-5:]}" in page
    assert "nightly" in page
    answer = await app.client.get(f"{app.url}/api/me", headers={"Authorization": f"Bearer {secret}"})
    assert (await answer.json())["signed_in_by"] == "token"
    assert "from <code>127.0.0.1</code>" in await app.page("/account")


async def test_the_answer_that_shows_a_token_is_kept_by_nobody(app: Managed) -> None:
    answer = await send(app, name="nightly")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_form_that_is_sent_twice_makes_one_token_and_shows_it_once(app: Managed) -> None:
    first = await send(app, name="nightly", form="0" * 32)
    again = await send(app, name="nightly", form="0" * 32)
    assert (first.status, again.status) == (200, 409)
    assert not SECRET.search(await again.text())
    await only_id(app)


async def test_a_token_expires_after_some_time_unless_chosen_otherwise(app: Managed) -> None:
    usual = (datetime.now(UTC) + timedelta(days=USUAL_DAYS)).strftime("%Y-%m-%d")
    assert f'name="expires" value="{usual}"' in await app.page("/account/tokens/new")
    await send(app, name="nightly", expires=usual)
    (token,) = await app.services.access.tokens(await app.services.keys.find_account(ANN))
    assert token.expires == datetime.fromisoformat(f"{usual}T00:00:00+00:00").timestamp()


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"name": " "}, "A token needs a name."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"expires": "2020-01-01"}, "The expiry lies in the past."),
        ({"expires": "tomorrow"}, "Write the date as year-month-day"),
        ({"expires": "2027-02-30"}, "Write the date as year-month-day"),
        ({"expires": "99999-01-01"}, "Write the date as year-month-day"),
    ],
)
async def test_what_is_wrong_is_said_and_what_was_typed_is_kept(app: Managed, typed: dict[str, str], says: str) -> None:
    answer = await send(app, **({"name": "nightly", "expires": ""} | typed))
    page = await answer.text()
    assert answer.status == 422
    assert says in page
    assert not SECRET.search(page)
    assert await app.services.access.tokens(await app.services.keys.find_account(ANN)) == ()


async def test_there_is_room_for_some_tokens(app: Managed) -> None:
    for number in range(MOST_TOKENS):
        await created(app, f"token {number}")
    assert "/account/tokens/new" not in await app.page("/account")
    answer = await send(app, name="one more")
    assert answer.status == 422
    assert f"at most {MOST_TOKENS} management tokens" in await answer.text()


async def test_a_token_is_deleted_after_a_question(app: Managed) -> None:
    secret = await created(app)
    path = f"/account/tokens/{await only_id(app)}/delete"
    assert "Nothing has ever been asked with it." in await app.page(path)
    await app.services.access.token(secret, "192.0.2.1")
    assert "from <code>192.0.2.1</code>" in await app.page(path)
    answer = await send(app, path)
    assert (answer.status, answer.headers["Location"]) == (303, "/account?done=token-deleted")
    assert await app.services.access.token(secret) is None
    await app.page(path, 404)


async def test_the_token_of_another_is_not_there(app: Managed) -> None:
    await app.account(BOB, operator=True)
    bob = await app.services.access.sign_in(BOB, PASSWORD, "192.0.2.1")
    assert isinstance(bob, SignedIn)
    token, secret = await app.services.access.create_token(bob.identity, "bobs", None, **ACTOR)
    path = f"/account/tokens/{token.id}/delete"
    assert await app.page(path, 404) == (await app.page("/account/tokens/none/delete", 404))
    fields = {"csrf": csrf_of(await app.page("/account"))}
    assert (await app.client.post(app.url + path, data=fields)).status == 404
    assert await app.services.access.token(secret)


async def test_tokens_are_for_who_has_signed_in(app: Managed) -> None:
    app.client.cookie_jar.clear()
    for path in ("/account/tokens/new", "/account/tokens/none/delete"):
        for method in ("GET", "POST"):
            answer = await app.client.request(method, app.url + path, allow_redirects=False)
            assert answer.status == 303
