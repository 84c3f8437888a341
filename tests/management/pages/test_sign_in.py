from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from yarl import URL

from keystile.management.entry import SlowDown
from keystile.management.pages.sign_in import slow_down
from tests.management.running import PASSWORD, Managed, csrf_of, running

ANN, BOB, NOBODY = "ann@example.com", "bob@example.com", "nobody@example.com"
WRONG = "battery staple"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Managed]:
    async with running(tmp_path) as managed:
        await managed.account(ANN)
        yield managed


def cookies(app: Managed) -> dict[str, str]:
    """The cookies that the browser holds."""
    return {name: morsel.value for name, morsel in app.client.cookie_jar.filter_cookies(URL(app.url)).items()}


async def send(app: Managed, password: str, email: str = ANN, **more: str) -> ClientResponse:
    """Open the form, fill it in, send it."""
    fields = {"email": email, "password": password, "csrf": csrf_of(await app.page("/sign-in")), "next": "/keys"}
    answer = await app.client.post(f"{app.url}/sign-in", data=fields | more, allow_redirects=False)
    await answer.read()
    return answer


def said(page: str) -> str:
    """What the page says is wrong."""
    found = re.search(r'role="alert"[^>]*>.*?<span>([^<]*)</span>', page, re.DOTALL)
    return found[1] if found else ""


async def test_the_right_password_leads_to_the_keys(app: Managed) -> None:
    answer = await send(app, PASSWORD)
    assert (answer.status, answer.headers["Location"]) == (303, "/keys")
    morsel = answer.cookies["keystile"]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "Strict", "/", "")
    assert int(morsel["max-age"]) == 30 * 86400
    assert ANN in await app.page("/account")


async def test_what_was_wanted_comes_after_and_nothing_of_others(app: Managed) -> None:
    assert (await send(app, PASSWORD, next="/history?before=5")).headers["Location"] == "/history?before=5"
    app.client.cookie_jar.clear()
    for evil in ("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"):
        assert (await send(app, PASSWORD, next=evil)).headers["Location"] == "/keys"
        app.client.cookie_jar.clear()
    assert "evil" not in await app.page("/sign-in?next=//evil.example")
    assert 'value="/history?before=5"' in await app.page("/sign-in?next=/history%3Fbefore%3D5")


async def test_a_wrong_password_and_an_unknown_account_look_the_same(app: Managed) -> None:
    pages = []
    for email in (ANN, NOBODY, "none"):
        answer = await send(app, WRONG, email)
        assert answer.status == 401
        assert "WWW-Authenticate" in answer.headers
        assert "keystile" not in cookies(app)
        pages.append((await answer.text()).replace(f'value="{email}"', ""))
    assert pages[0] == pages[1] == pages[2]
    assert said(pages[0]) == "E-mail address and password do not go together."


async def test_a_password_that_was_typed_is_not_shown_again(app: Managed) -> None:
    page = await (await send(app, WRONG, "<b>ann")).text()
    assert WRONG not in page
    assert 'value="&lt;b&gt;ann"' in page


async def test_too_many_failures_are_told_with_when_to_come_again(app: Managed) -> None:
    for _ in range(5):
        assert (await send(app, WRONG, NOBODY)).status == 401
    answer = await send(app, WRONG, NOBODY)
    # Seconds have passed meanwhile: at worst a sixth failure was looked at.
    if answer.status == 401:
        answer = await send(app, WRONG, NOBODY)
    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 2
    assert said(await answer.text()).startswith("Too many attempts have failed. Wait ")


@pytest.mark.parametrize(
    ("seconds", "wait"),
    [(1, "1 second,"), (59, "59 seconds,"), (60, "1 minute,"), (61, "2 minutes,"), (900, "15 minutes,")],
)
def test_how_long_to_wait_is_said_in_words(seconds: int, wait: str) -> None:
    assert wait in slow_down(SlowDown(seconds))


async def test_a_session_that_the_browser_brought_along_is_not_the_one_that_begins(app: Managed) -> None:
    app.client.cookie_jar.update_cookies({"keystile": "0" * 64}, URL(app.url))
    await send(app, PASSWORD)
    first = cookies(app)["keystile"]
    assert first != "0" * 64
    app.client.cookie_jar.clear()
    await send(app, PASSWORD)
    assert cookies(app)["keystile"] != first


async def test_signing_in_anew_in_another_tab_ends_the_session_before(app: Managed) -> None:
    await app.account(BOB)
    form = csrf_of(await app.page("/sign-in"))
    form_cookie = cookies(app)["keystile-form"]
    await app.sign_in(ANN)
    before = cookies(app)["keystile"]
    app.client.cookie_jar.update_cookies({"keystile-form": form_cookie}, URL(app.url))
    fields = {"email": BOB, "password": PASSWORD, "csrf": form}
    answer = await app.client.post(f"{app.url}/sign-in", data=fields, allow_redirects=False)
    assert answer.status == 303
    assert await app.services.access.session(before) is None
    assert BOB in await app.page("/account")


async def test_who_has_signed_in_needs_no_form(app: Managed) -> None:
    await app.sign_in(ANN)
    answer = await app.client.get(f"{app.url}/sign-in?next=/history", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/history")


# No stranger's page signs anybody in


async def test_a_form_without_its_cookie_or_token_signs_nobody_in(app: Managed) -> None:
    good = csrf_of(await app.page("/sign-in"))
    for csrf in ("", "0" * 64, "é", cookies(app)["keystile-form"]):
        answer = await send(app, PASSWORD, csrf=csrf)
        assert answer.status == 403
        assert "keystile" not in cookies(app)
    app.client.cookie_jar.clear()
    fields = {"email": ANN, "password": PASSWORD, "csrf": good}
    answer = await app.client.post(f"{app.url}/sign-in", data=fields, allow_redirects=False)
    assert answer.status == 403
    assert ANN in await answer.text()  # what was typed is kept, and the new form works
    assert (await send(app, PASSWORD)).status == 303


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
async def test_a_form_sent_from_elsewhere_signs_nobody_in(app: Managed, headers: dict[str, str]) -> None:
    fields = {"email": ANN, "password": PASSWORD, "csrf": csrf_of(await app.page("/sign-in"))}
    answer = await app.client.post(f"{app.url}/sign-in", data=fields, headers=headers, allow_redirects=False)
    assert answer.status == 403
    assert "keystile" not in cookies(app)


async def test_a_browser_sends_our_form_with_origin_null_since_the_pages_send_no_referrer(app: Managed) -> None:
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    fields = {"email": ANN, "password": PASSWORD, "csrf": csrf_of(await app.page("/sign-in"))}
    answer = await app.client.post(f"{app.url}/sign-in", data=fields, headers=headers, allow_redirects=False)
    assert answer.status == 303


async def test_forms_of_several_tabs_work(app: Managed) -> None:
    first, second = csrf_of(await app.page("/sign-in")), csrf_of(await app.page("/sign-in"))
    assert first == second
    assert (await send(app, WRONG, csrf=first)).status == 401
    assert (await send(app, PASSWORD, csrf=second)).status == 303
    assert "keystile-form" not in cookies(app)


@pytest.mark.parametrize("body", [b"\xff=\xff", b"--b\r\nnonsense", b"x" * 70_000])
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded; charset=nonsense", "multipart/form-data; boundary=b"]
)
async def test_what_is_no_form_is_the_senders_fault(app: Managed, kind: str, body: bytes) -> None:
    answer = await app.client.post(f"{app.url}/sign-in", data=body, headers={"Content-Type": kind})
    assert answer.status in (400, 403, 413)


# Signing out


async def test_signing_out_ends_the_session_and_the_cookie(app: Managed) -> None:
    await app.sign_in(ANN)
    secret = cookies(app)["keystile"]
    fields = {"csrf": csrf_of(await app.page("/account"))}
    answer = await app.client.post(f"{app.url}/sign-out", data=fields, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?done=signed-out")
    assert "keystile" not in cookies(app)
    assert await app.services.access.session(secret) is None
    assert "You have signed out." in await app.page("/sign-in?done=signed-out")


async def test_a_link_cannot_sign_anybody_out(app: Managed) -> None:
    await app.sign_in(ANN)
    assert (await app.client.get(f"{app.url}/sign-out")).status == 405
    assert (await app.client.post(f"{app.url}/sign-out", allow_redirects=False)).status == 403
    await app.page("/account")


async def test_behind_a_trusted_proxy_with_tls_all_cookies_have_the_prefix(tmp_path: Path) -> None:
    async with running(tmp_path, trusted_proxies=LOOPBACK) as app:
        await app.account(ANN)
        on_tls = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        page = await app.client.get(f"{app.url}/sign-in", headers=on_tls)
        form = page.cookies["__Host-keystile-form"].value
        fields = {"email": ANN, "password": PASSWORD, "csrf": csrf_of(await page.text())}
        sent = on_tls | {"Cookie": f"__Host-keystile-form={form}"}
        answer = await app.client.post(f"{app.url}/sign-in", data=fields, headers=sent, allow_redirects=False)
        morsel = answer.cookies["__Host-keystile"]
        assert (answer.status, morsel["secure"], morsel["path"]) == (303, True, "/")
        account = await app.services.keys.find_account(ANN)
        assert [session.address for session in await app.services.access.sessions(account)] == ["192.0.2.1"]
