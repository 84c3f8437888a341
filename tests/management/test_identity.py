from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from aiohttp import ClientResponse, ClientSession, web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from keystile.management import identity
from keystile.management.access import SignedIn
from keystile.management.identity import local_path
from tests.management.running import ACTOR, PASSWORD, Managed, running

ANN, OPERATOR = "ann@example.com", "operator@example.com"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Managed]:
    async with running(tmp_path) as managed:
        await managed.account(ANN)
        yield managed


@pytest.fixture
async def behind_proxy(tmp_path: Path) -> AsyncIterator[Managed]:
    """Behind a proxy on this machine that is trusted."""
    async with running(tmp_path, trusted_proxies=LOOPBACK) as managed:
        await managed.account(ANN)
        yield managed


async def signed_in(app: Managed, email: str = ANN) -> SignedIn:
    answer = await app.services.access.sign_in(email, PASSWORD, "192.0.2.1")
    assert isinstance(answer, SignedIn)
    return answer


async def ask(app: Managed, method: str, path: str, **more: Any) -> ClientResponse:
    """One request of a client without any cookie of its own."""
    async with ClientSession() as client:
        answer = await client.request(method, URL(app.url + path, encoded=True), allow_redirects=False, **more)
        await answer.read()
        return answer


def cookie(session: SignedIn, name: str = "keystile") -> dict[str, str]:
    return {"Cookie": f"{name}={session.secret}"}


# Who asks


async def test_a_session_is_a_cookie(app: Managed) -> None:
    session = await signed_in(app)
    assert (await ask(app, "GET", "/account", headers=cookie(session))).status == 200
    for wrong in (session.identity.id, session.identity.csrf, "", "0" * 64):
        answer = await ask(app, "GET", "/account", headers={"Cookie": f"keystile={wrong}"})
        assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=/account")


async def test_a_session_is_nothing_but_a_cookie(app: Managed) -> None:
    session = await signed_in(app)
    for headers in ({"Authorization": f"Bearer {session.secret}"}, {"X-Keystile-Account": ANN}):
        assert (await ask(app, "GET", "/api/keys", headers=headers)).status == 401
    assert (await ask(app, "GET", f"/account?keystile={session.secret}")).status == 303


async def test_a_token_is_for_the_api_alone_and_for_its_one_field(app: Managed) -> None:
    session = await signed_in(app)
    _, secret = await app.services.access.create_token(session.identity, "nightly", None, **ACTOR)
    assert (await ask(app, "GET", "/api/keys", headers={"Authorization": f"bearer  {secret}"})).status == 200
    assert (await ask(app, "GET", "/keys", headers={"Authorization": f"Bearer {secret}"})).status == 303
    for headers in (
        {"Authorization": secret},
        {"Authorization": f"Basic {secret}"},
        {"Authorization": f"Bearer {secret} {secret}"},
        {"Authorization": "Bearer"},
        {"X-Api-Key": secret},
        {"Cookie": f"keystile={secret}"},
    ):
        answer = await ask(app, "GET", "/api/keys", headers=headers)
        assert answer.status == 401, headers
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.content_type == "application/problem+json"
    assert (await ask(app, "GET", f"/api/keys?access_token={secret}")).status in (401, 422)


async def test_a_program_with_a_bad_token_is_not_taken_for_the_browsers_session(app: Managed) -> None:
    headers = cookie(await signed_in(app)) | {"Authorization": "Bearer kst_0"}
    assert (await ask(app, "GET", "/api/keys", headers=headers)).status == 401


async def test_the_path_that_was_asked_for_comes_after_signing_in_but_no_change_does(app: Managed) -> None:
    answer = await ask(app, "GET", "/history?before=5")
    there = URL(answer.headers["Location"])
    assert (there.path, dict(there.query)) == ("/sign-in", {"next": "/history?before=5"})
    assert (await ask(app, "POST", "/account/password")).headers["Location"] == "/sign-in"


async def test_an_operator_is_asked_for_and_an_account_is_not_enough(app: Managed) -> None:
    await app.account(OPERATOR, operator=True)
    for email, status in ((ANN, 403), (OPERATOR, 200)):
        headers = cookie(await signed_in(app, email))
        assert (await ask(app, "GET", "/operator/accounts", headers=headers)).status == status


# Was it meant?

MEANT = "/account/sessions/end"


async def change(app: Managed, csrf: str | None = None, **headers: str) -> int:
    """Whether a change by an open session is accepted (303) or not (403)."""
    session = await signed_in(app)
    fields = {"csrf": session.identity.csrf if csrf is None else csrf}
    fields = {name: value for name, value in fields.items() if value != "none"}
    sent = {name.replace("_", "-"): value.replace("OURS", app.url) for name, value in headers.items()}
    return (await ask(app, "POST", MEANT, data=fields, headers=cookie(session) | sent)).status


@pytest.mark.parametrize("csrf", ["none", "", "0" * 64, "é"])
async def test_a_change_without_the_sessions_own_token_is_refused(app: Managed, csrf: str) -> None:
    assert await change(app, csrf) == 403


async def test_a_change_with_the_token_of_another_session_is_refused(app: Managed) -> None:
    assert await change(app, (await signed_in(app)).identity.csrf) == 403


async def test_a_change_from_a_page_of_ours_is_accepted(app: Managed) -> None:
    assert await change(app) == 303
    assert await change(app, Origin="OURS") == 303
    assert await change(app, Origin="null", Sec_Fetch_Site="same-origin") == 303
    assert await change(app, Origin="OURS", Sec_Fetch_Site="same-origin") == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "OURS.evil.example"},
        {"Origin": "OURS", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://ann@127.0.0.1"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "null", "Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": ""},
    ],
)
async def test_a_change_from_elsewhere_is_refused_even_with_the_right_token(
    app: Managed, headers: dict[str, str]
) -> None:
    assert await change(app, **headers) == 403


async def test_a_change_by_a_script_of_ours_has_its_token_in_a_field(app: Managed) -> None:
    session = await signed_in(app)
    for token, status in ((session.identity.csrf, 303), ("0" * 64, 403)):
        headers = cookie(session) | {"X-CSRF-Token": token}
        assert (await ask(app, "POST", MEANT, json={}, headers=headers)).status == status


async def test_the_token_in_the_query_is_none(app: Managed) -> None:
    session = await signed_in(app)
    path = f"{MEANT}?csrf={session.identity.csrf}"
    assert (await ask(app, "POST", path, headers=cookie(session))).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_the_api_asks_a_session_for_its_token_and_a_management_token_for_none(app: Managed, method: str) -> None:
    session = await signed_in(app)
    _, secret = await app.services.access.create_token(session.identity, "nightly", None, **ACTOR)
    refused = await ask(app, method, "/api/keys/none", headers=cookie(session))
    assert (refused.status, refused.content_type) == (403, "application/problem+json")
    for headers in (
        cookie(session) | {"X-CSRF-Token": session.identity.csrf},
        {"Authorization": f"Bearer {secret}", "Origin": "https://evil.example"},
    ):
        assert (await ask(app, method, "/api/keys/none", headers=headers)).status not in (401, 403)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded; charset=nonsense", b"csrf=x"),
        ("application/x-www-form-urlencoded; charset=ascii", b"csrf=\xff"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\nx\r\n--b--'),
        ("text/plain", b"csrf=x"),
    ],
)
async def test_a_form_that_cannot_be_read_is_the_senders_fault(app: Managed, kind: str, body: bytes) -> None:
    headers = cookie(await signed_in(app)) | {"Content-Type": kind}
    assert (await ask(app, "POST", MEANT, data=body, headers=headers)).status in (400, 403)


# Addresses, TLS, cookies


async def seen_from(app: Managed, **headers: str) -> str:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    session = await signed_in(app)
    answer = await ask(app, "GET", "/api/me", headers=cookie(session) | sent)
    said: str = (await answer.json())["address"]
    return said


async def test_a_stranger_cannot_say_where_he_is(app: Managed) -> None:
    assert await seen_from(app, X_Forwarded_For="192.0.2.9") == "127.0.0.1"


async def test_a_trusted_proxy_says_where_the_client_is(behind_proxy: Managed) -> None:
    assert await seen_from(behind_proxy, X_Forwarded_For="192.0.2.9") == "192.0.2.9"
    assert await seen_from(behind_proxy, X_Forwarded_For="203.0.113.1, ::ffff:192.0.2.9") == "192.0.2.9"
    assert await seen_from(behind_proxy) == "127.0.0.1"
    assert await seen_from(behind_proxy, X_Forwarded_For="nonsense") == "127.0.0.1"


async def test_where_the_proxy_speaks_forwarded_nothing_else_is_read(tmp_path: Path) -> None:
    async with running(tmp_path, trusted_proxies=LOOPBACK, client_address_field="Forwarded") as app:
        await app.account(ANN)
        assert await seen_from(app, Forwarded='for="[2001:db8::1]"') == "2001:db8::1"
        assert await seen_from(app, X_Forwarded_For="192.0.2.9") == "127.0.0.1"
        for fields, name in (
            ({"Forwarded": "for=192.0.2.9;proto=https"}, "__Host-keystile-form"),
            ({"X-Forwarded-Proto": "https"}, "keystile-form"),
        ):
            page = await ask(app, "GET", "/sign-in", headers=fields)
            assert list(page.cookies) == [name]


async def test_on_tls_the_cookie_is_secure_and_no_neighbour_can_set_it(behind_proxy: Managed) -> None:
    on_tls = {"X-Forwarded-Proto": "https"}
    session = await signed_in(behind_proxy)
    for name, status in (("keystile", 303), ("__Host-keystile", 200)):
        answer = await ask(behind_proxy, "GET", "/account", headers=cookie(session, name) | on_tls)
        assert answer.status == status
    page = await ask(behind_proxy, "GET", "/sign-in", headers=on_tls)
    morsel = page.cookies["__Host-keystile-form"]
    assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == (True, True, "Strict")
    assert (morsel["path"], morsel["domain"]) == ("/", "")


async def test_on_tls_a_page_without_it_is_no_page_of_ours(behind_proxy: Managed) -> None:
    session = await signed_in(behind_proxy)
    host = behind_proxy.url.partition("//")[2]
    for scheme, status in (("https", 303), ("http", 403)):
        headers = {"X-Forwarded-Proto": "https", "Origin": f"{scheme}://{host}"} | cookie(session, "__Host-keystile")
        fields = {"csrf": session.identity.csrf}
        assert (await ask(behind_proxy, "POST", MEANT, data=fields, headers=headers)).status == status


async def test_a_stranger_cannot_say_that_he_speaks_tls(app: Managed) -> None:
    page = await ask(app, "GET", "/sign-in", headers={"X-Forwarded-Proto": "https"})
    assert list(page.cookies) == ["keystile-form"]


def test_where_there_is_no_address_there_is_none() -> None:
    assert identity.client_address(make_mocked_request("GET", "/")) == "unknown"


# The path after signing in


@pytest.mark.parametrize("path", ["/keys", "/keys/", "/history?before=5&x=/y//z", "/keys/a%20b", "/a?scope=View.x"])
def test_a_page_of_ours_may_come_after_signing_in(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        "keys",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "/\n/evil.example",
        " //evil.example",
        "/ /evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "//evil.example\\@ours",
        "/..//evil.example",
        "/.//evil.example",
        "/a/..//evil.example",
        "/%2e%2e//evil.example",
        "/%2e%2E/x",
        "/%2F/evil.example",
        "/%5Cevil.example",
        "/%09/evil.example",
        "/keys\r\nSet-Cookie: keystile=1",
        "/keys%0d%0aSet-Cookie:%20x",
        "/é",
        "/\u2028",
        "/keys#//evil",
        "/sign-in",
        "/sign-out",
        "/link?token=x",
    ],
)
def test_nothing_else_may(path: str | None) -> None:
    assert local_path(path) == "/keys"


TEXT = st.text(st.sampled_from("/\\.:@?#%2eEfF5cC09\t\n\r abc\u2028é"), max_size=24)


@given(TEXT)
def test_whatever_is_asked_for_the_browser_stays_here(text: str) -> None:
    sent = web.HTTPSeeOther(local_path(text)).headers["Location"]
    # As a browser reads it: tabs and line ends go, backslashes are slashes (URL, 4.4).
    read = sent.strip().replace("\t", "").replace("\n", "").replace("\r", "").replace("\\", "/")
    there = urlsplit(urljoin("https://ours.example/sign-in", read))
    assert (there.scheme, there.netloc) == ("https", "ours.example")
    assert sent.startswith("/")
    assert not sent.startswith("//")


async def test_what_everybody_gets_asks_nothing_of_the_store(app: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await signed_in(app)
    asked: list[str] = []

    async def never(secret: str, address: str = "") -> None:
        asked.append(secret)

    monkeypatch.setattr(app.services.access, "session", never)
    answers = [ask(app, "GET", path, headers=cookie(session)) for path in ("/health", "/metrics", "/static/mark.svg")]
    assert {answer.status for answer in await asyncio.gather(*answers)} == {200}
    assert asked == []


# A request that waits with its body


@pytest.mark.parametrize("way", ["password", "account", "token"])
async def test_a_request_cannot_wait_with_its_body_until_who_sent_its_head_is_gone(app: Managed, way: str) -> None:
    """A thief's remedy against every remedy of the owner: heads with the first byte of a body, kept open."""
    session, access = await signed_in(app), app.services.access
    token, secret = await access.create_token(session.identity, "t", None, **ACTOR)
    who = f"Authorization: Bearer {secret}\r\n" if way == "token" else f"Cookie: keystile={session.secret}\r\n"
    body = b'{"name": "parked"}'
    head = (
        f"POST /api/keys HTTP/1.1\r\nHost: 127.0.0.1\r\n{who}X-CSRF-Token: {session.identity.csrf}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    url = URL(app.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head.encode() + body[:1])
    await writer.drain()
    # Another request on this loop is served after the head has been read.
    assert (await ask(app, "GET", "/health")).status == 200
    if way == "password":
        link = await access.make_link(ANN, **ACTOR)
        await access.use_link(link, "another long password")
    elif way == "account":
        gone = await app.services.keys.delete_account(ANN, **ACTOR)
        await access.forget_account(gone)
    else:
        await access.delete_token(session.identity, token.id, **ACTOR)
    writer.write(body[1:])
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert await app.services.keys.list() == ()


async def test_a_body_that_does_not_come_is_not_waited_for(app: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "BODY_WITHIN", 0.05)
    url = URL(app.url)
    for path in ("/sign-in", "/link"):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\ne".encode())
        assert await reader.readexactly(13) == b"HTTP/1.1 408 "
        writer.close()


async def test_a_client_that_leaves_in_its_body_leaves_nothing_in_the_log(
    app: Managed, caplog: pytest.LogCaptureFixture
) -> None:
    url = URL(app.url)
    for _ in range(5):
        _, writer = await asyncio.open_connection(url.host, url.port)
        form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\ne"
        writer.write(b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n" + form)
        await writer.drain()
        await ask(app, "GET", "/health")  # served after it, so the head has been read
        writer.close()
        await writer.wait_closed()
    assert (await ask(app, "GET", "/health")).status == 200
    assert caplog.text == ""
