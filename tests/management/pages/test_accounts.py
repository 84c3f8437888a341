from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from aiohttp import ClientSession, CookieJar

from keystile.keys.audit import What
from keystile.storage.passwords import passwords_of
from tests.management.pages.reading import harmless
from tests.management.running import Managed, csrf_of, running

OPERATOR = "op@example.com"
LINK = re.compile(r"http://127\.0\.0\.1:\d+(/link\?token=([0-9a-f]{64}))")
BY = {"actor": "test", "origin": "test"}


async def signed_in(app: Managed) -> Managed:
    await app.account(OPERATOR, operator=True)
    await app.sign_in(OPERATOR)
    return app


async def send(app: Managed, path: str, status: int = 200, csrf: str | None = None, **fields: str) -> str:
    """Open a form, fill it in and send it; the text of the answer."""
    page = await app.page(path)
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.partition("<main")[2]))
    hidden["csrf"] = csrf_of(page) if csrf is None else csrf
    async with app.client.post(app.url + path, data={**hidden, **fields}, allow_redirects=False) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return answer.headers.get("Location", text)


async def new_account(app: Managed, email: str, operator: bool = False) -> str:
    """Make an account by the form; returns its id."""
    await send(app, "/operator/accounts/new", email=email, operator="yes" if operator else "")
    return (await app.services.keys.find_account(email)).id


async def test_a_new_account_s_owner_sets_the_password_by_the_link_that_is_shown_once(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        shown = await send(app, "/operator/accounts/new", email="New@Example.com")
        harmless(shown)
        found = LINK.search(shown)
        assert found is not None
        assert not (await app.services.keys.find_account("new@example.com")).operator

        await app.services.access.use_link(found[2], "a password of their own")
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as theirs:
            app.client, mine = theirs, app.client
            await app.sign_in("new@example.com", "a password of their own")
            app.client = mine
        assert found[2] not in harmless(await app.page("/operator/accounts")).text


async def test_an_operator_can_be_made(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        await new_account(app, "second@example.com", operator=True)

        assert (await app.services.keys.find_account("second@example.com")).operator
        [event] = await app.services.keys.events(1, account="second@example.com")
        assert (event.what, event.actor) == (What.PASSWORD_LINK_MADE, OPERATOR)
        assert event.origin.startswith("page from 127.0.0.1")


async def test_what_is_wrong_is_said_beside_the_field_and_what_was_typed_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        for typed in (OPERATOR, "no address", "", '"><script>alert(1)</script>', "x" * 999):
            page = harmless(await send(app, "/operator/accounts/new", 422, email=typed, operator="yes"))
            [email] = [attrs for attrs in page.all("input") if attrs.get("name") == "email"]
            assert email["aria-invalid"] == "true"
            assert email["value"] == typed[:320]
            assert "checked" in next(attrs for attrs in page.all("input") if attrs.get("name") == "operator")
        assert len(await app.services.keys.list_accounts()) == 1


async def test_a_form_that_is_sent_twice_makes_one_account_and_shows_no_second_link(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        page = await app.page("/operator/accounts/new")
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        data = {**hidden, "csrf": csrf_of(page), "email": "new@example.com"}
        answers = []
        for _ in range(2):
            async with app.client.post(f"{app.url}/operator/accounts/new", data=data) as answer:
                answers.append((answer.status, LINK.search(await answer.text()) is not None))

        assert answers == [(200, True), (409, False)]


async def test_a_link_for_a_new_password_ends_the_one_before(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        account = await new_account(app, "new@example.com")
        first = LINK.search(await send(app, f"/operator/accounts/{account}/link"))
        second = LINK.search(await send(app, f"/operator/accounts/{account}/link"))

        assert first is not None
        assert second is not None
        assert await app.services.access.link(first[2]) is None
        assert await app.services.access.link(second[2]) is not None


async def test_the_list_says_how_many_keys_an_account_owns_and_when_it_was_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        await new_account(app, "new@example.com")
        for name in ("one", "two"):
            await app.services.keys.create("new@example.com", name, [], actor="test", origin="test")
        shown = harmless(await app.page("/operator/accounts")).text

        assert re.search(r"new@example.com Owns keys 2 .* Not signed in", shown)
        assert re.search(r"op@example.com you Operator 0 .* just now", shown)


async def test_accounts_are_searched_and_paged(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        for n in range(45):
            await app.services.keys.create_account(f"{n}.{'x' * 40}@example.com", actor="test", origin="test")

        first = harmless(await app.page("/operator/accounts"))
        assert "46 of 46 accounts" in first.text
        assert len(harmless(await app.page("/operator/accounts?page=2")).all("tr")) == 1 + 6
        assert "1 of 46 accounts" in harmless(await app.page("/operator/accounts?q=44.X")).text


async def test_deleting_names_how_many_keys_stop_working_and_they_do(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        account = await new_account(app, "new@example.com")
        path = f"/operator/accounts/{account}/delete"
        assert "owns no API key" in harmless(await app.page(path)).text
        await app.services.keys.create("new@example.com", "one", [], actor="test", origin="test")
        assert "1 API key of this account stops working" in harmless(await app.page(path)).text
        await app.services.smtp.create("new@example.com", "mail@example.com", actor="test", origin="test")
        shown = harmless(await app.page(path)).text
        assert "1 API key and 1 SMTP credential of this account stop working" in shown

        assert await send(app, path, 303) == "/operator/accounts?done=account-deleted"
        assert await app.services.keys.list() == ()
        assert [one.email for one in await app.services.keys.list_accounts()] == [OPERATOR]
        await app.page(path, 404)


async def test_an_account_that_got_another_key_meanwhile_is_not_deleted(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        account = await new_account(app, "new@example.com")
        await app.services.keys.create("new@example.com", "one", [], actor="test", origin="test")
        shown = harmless(await send(app, f"/operator/accounts/{account}/delete", 409, keys="0"))

        assert "Nothing has been deleted" in shown.text
        assert len(await app.services.keys.list_accounts()) == 2


async def test_who_was_deleted_is_signed_out_and_their_link_is_worthless(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        gone = await app.account("gone@example.com")
        link = await app.services.access.make_link("gone@example.com", actor="test", origin="test")
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as theirs:
            app.client, mine = theirs, app.client
            await app.sign_in("gone@example.com")
            app.client = mine
            await send(app, f"/operator/accounts/{gone.id}/delete", 303)
            async with theirs.get(f"{app.url}/keys", allow_redirects=False) as answer:
                assert answer.status == 303
        assert await app.services.access.link(link) is None
        assert gone.id not in _dump(app)
        assert (await app.services.keys.find_account(OPERATOR)).id in _dump(app)


def _dump(app: Managed) -> str:
    """All that lies in the file of passwords, sessions and links."""
    with closing(sqlite3.connect(passwords_of(app.services.settings.store))) as file:
        return "\n".join(file.iterdump())


async def test_nobody_deletes_the_account_that_they_are_signed_in_with(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        own = await app.services.keys.find_account(OPERATOR)
        page = await app.page("/operator/accounts/new")

        assert f"/operator/accounts/{own.id}/delete" not in await app.page("/operator/accounts")
        await app.page(f"/operator/accounts/{own.id}/delete", 403)
        data = {"csrf": csrf_of(page), "keys": "0", "credentials": "0"}
        async with app.client.post(f"{app.url}/operator/accounts/{own.id}/delete", data=data) as answer:
            assert answer.status == 403
        assert len(await app.services.keys.list_accounts()) == 1


async def test_nothing_is_done_without_the_page_s_own_text_or_by_somebody_else(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        account = await new_account(app, "new@example.com")
        paths = [f"/operator/accounts/{place}" for place in ("new", f"{account}/link", f"{account}/delete")]
        for path in paths:
            await send(app, path, 403, csrf="wrong", email="other@example.com")
        await app.account("plain@example.com")
        app.client.cookie_jar.clear()
        await app.sign_in("plain@example.com")
        page = await app.page("/keys")
        for path in paths:
            data = {"csrf": csrf_of(page), "email": "other@example.com", "keys": "0", "credentials": "0"}
            async with app.client.post(app.url + path, data=data) as answer:
                assert answer.status == 403
            if not path.endswith("new"):
                await app.page(path, 403)
        emails = {one.email for one in await app.services.keys.list_accounts()}
        assert emails == {OPERATOR, "new@example.com", "plain@example.com"}


async def test_an_account_that_is_not_there_is_a_page_that_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)

        for path in ("/operator/accounts/none/delete", "/operator/accounts/%3Cscript%3E/link"):
            assert "There is no such account" in harmless(await app.page(path, 404)).text
