from __future__ import annotations

import asyncio

import pytest

from keystile.management import health
from keystile.management.health import examine


async def well() -> str | None:
    return None


async def ill() -> str | None:
    return "cannot be read"


async def silent() -> str | None:
    await asyncio.sleep(60)
    return None


async def test_all_well_is_ok() -> None:
    answer = await examine({"store": well}, {"relays": well})
    assert (answer.to_dict(), answer.http_status) == ({"status": "ok"}, 200)


async def test_a_vital_trouble_fails_and_another_only_degrades() -> None:
    failing = await examine({"store": ill}, {"relays": ill})
    assert failing.http_status == 503
    assert failing.to_dict() == {
        "status": "failing",
        "reasons": ["store: cannot be read"],
        "warnings": ["relays: cannot be read"],
    }
    degraded = await examine({"store": well}, {"relays": ill})
    assert (degraded.http_status, degraded.status) == (200, "degraded")


async def test_a_check_that_does_not_answer_is_a_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    answer = await examine({"store": silent}, {})
    assert answer.reasons == ("store: no answer within 0.05 s",)
