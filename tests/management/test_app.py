from __future__ import annotations

from pathlib import Path

import pytest

from keystile.config.model import Management
from tests.management.running import running


async def test_health_says_ok_or_why_not(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        assert await app.page("/health") == '{"status": "ok"}'
    (tmp_path / "sick").mkdir()
    async with running(tmp_path / "sick", reasons=("store: cannot be read",)) as app:
        assert await app.page("/health", 503) == '{"status": "failing", "reasons": ["store: cannot be read"]}'


async def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    async with running(tmp_path) as app, app.client.get(f"{app.url}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "keystile_slots_taken 3\n" in await answer.text()
        assert answer.headers["Vary"] == "Accept"


async def test_who_asks_for_open_metrics_gets_them(tmp_path: Path) -> None:
    wanted = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4"}
    async with running(tmp_path) as app, app.client.get(f"{app.url}/metrics", headers=wanted) as answer:
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert (await answer.text()).endswith("keystile_slots_taken 3\n# EOF\n")


async def test_who_is_not_signed_in_is_led_to_the_sign_in_page(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        async with app.client.get(f"{app.url}/") as answer:
            assert answer.url.path == "/sign-in"
            assert answer.status == 200
        async with app.client.get(f"{app.url}/api/me") as answer:
            assert (answer.status, answer.content_type) == (401, "application/problem+json")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sign-in", 200),
        ("GET", "/no", 404),
        ("PUT", "/", 405),
        ("GET", "/api/no", 404),
        ("PUT", "/health", 405),
    ],
)
async def test_every_answer_forbids_what_a_browser_might_do(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async with running(tmp_path) as app, app.client.request(method, app.url + path) as answer:
        assert answer.status == status
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_files_of_the_pages_may_be_kept_by_browsers(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        page = await app.page("/sign-in")
        style = page.split('rel="stylesheet" href="')[1].split('"')[0]
        async with app.client.get(app.url + style) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("gateway.example", 200),
        ("Gateway.Example:8081", 200),
        ("evil.example", 421),
        ("gateway.example.evil", 421),
        ("gateway.example:", 421),
        ("127.0.0.1", 421),
    ],
)
async def test_only_named_hosts_are_answered(tmp_path: Path, host: str, status: int) -> None:
    async with running(tmp_path, management=Management(hosts=("gateway.example",))) as app:
        for path in ("/sign-in", "/health", "/metrics"):
            async with app.client.get(app.url + path, headers={"Host": host}) as answer:
                assert answer.status == status
                assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("127.0.0.1:8081", "/sign-in", 200),
        ("[::1]:8081", "/sign-in", 200),
        ("localhost", "/sign-in", 200),
        ("gateway.localhost", "/sign-in", 200),
        ("rebound.example", "/sign-in", 421),
        ("127.0.0.1.rebound.example", "/sign-in", 421),
        ("rebound.example", "/api/me", 421),
        ("gateway:8081", "/metrics", 200),
        ("gateway:8081", "/health", 200),
    ],
)
async def test_without_names_pages_are_only_at_hosts_that_nobody_can_rebind(
    tmp_path: Path, host: str, path: str, status: int
) -> None:
    async with running(tmp_path) as app, app.client.get(app.url + path, headers={"Host": host}) as answer:
        assert answer.status == status


async def test_a_fault_of_ours_says_nothing_of_its_inside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as app:

        async def broken(*_: object) -> None:
            raise RuntimeError("inside")

        object.__setattr__(app.services.access, "session", broken)
        app.client.cookie_jar.update_cookies({"keystile": "0" * 64})
        for path, kind in (("/keys", "text/html"), ("/api/me", "application/problem+json")):
            async with app.client.get(app.url + path) as answer:
                assert (answer.status, answer.content_type) == (500, kind)
                assert "inside" not in await answer.text()
    assert "RuntimeError: inside" in caplog.text


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/api/me", "application/problem+json"),
        ("/sign-in", "text/html"),
        ("/health", "text/plain"),
        ("/api/nothing", "application/problem+json"),
        ("/nothing", "text/html"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_an_unknown_expectation_is_refused_in_the_form_that_the_caller_reads(
    tmp_path: Path, method: str, path: str, content_type: str
) -> None:
    async with (
        running(tmp_path) as app,
        app.client.request(method, app.url + path, headers={"Expect": "SECRET"}) as answer,
    ):
        assert (answer.status, answer.content_type) == (417, content_type)
        assert "SECRET" not in await answer.text()
        assert answer.headers["X-Frame-Options"] == "DENY"


async def test_who_waits_for_100_is_told_to_go_on(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as app,
        app.client.post(app.url + "/sign-in", data={"email": "a"}, expect100=True) as answer,
    ):
        assert answer.status == 403  # it came without a token of ours, but was read


async def test_a_page_says_when_to_try_again_where_the_store_cannot_be_used(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as app:
        await app.account("ann@example.com")
        await app.sign_in("ann@example.com")
        (tmp_path / "keystile.db").rename(tmp_path / "away")
        async with app.client.get(f"{app.url}/keys") as answer:
            text = await answer.text()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert "The store cannot be used right now" in text
            assert str(tmp_path) not in text
        (tmp_path / "away").rename(tmp_path / "keystile.db")
        await app.page("/keys")
