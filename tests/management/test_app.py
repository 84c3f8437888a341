from __future__ import annotations

from collections.abc import Iterable

import pytest
from pytest_aiohttp import AiohttpClient

from keystile.management.app import Sources, build
from keystile.management.health import Health
from keystile.management.metrics import Sample


def _sources(health: Health | None = None) -> Sources:
    async def ask_health() -> Health:
        return health or Health()

    async def samples() -> Iterable[Sample]:
        return [("slots_taken", "", 3)]

    return Sources(ask_health, samples)


async def test_health_says_ok_or_why_not(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(build(_sources()))
    answer = await client.get("/health")
    assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    client = await aiohttp_client(build(_sources(Health(reasons=("store: cannot be read",)))))
    answer = await client.get("/health")
    assert answer.status == 503
    assert await answer.json() == {"status": "failing", "reasons": ["store: cannot be read"]}


async def test_metrics_are_prometheus_text(aiohttp_client: AiohttpClient) -> None:
    answer = await (await aiohttp_client(build(_sources()))).get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "keystile_slots_taken 3\n" in await answer.text()


async def test_the_page_says_what_is_here(aiohttp_client: AiohttpClient) -> None:
    answer = await (await aiohttp_client(build(_sources()))).get("/")
    assert answer.content_type == "text/html"
    assert "/metrics" in await answer.text()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 200), ("GET", "/no", 404), ("PUT", "/", 405)])
async def test_every_answer_forbids_what_a_browser_might_do(
    aiohttp_client: AiohttpClient, method: str, path: str, status: int
) -> None:
    answer = await (await aiohttp_client(build(_sources()))).request(method, path)
    assert answer.status == status
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


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
async def test_only_named_hosts_are_answered(aiohttp_client: AiohttpClient, host: str, status: int) -> None:
    client = await aiohttp_client(build(_sources(), ("gateway.example",)))
    for path in ("/", "/health", "/metrics"):
        answer = await client.get(path, headers={"Host": host})
        assert answer.status == status
        assert answer.headers["X-Frame-Options"] == "DENY"
