"""kill -9 of management in the middle of creates: with an Idempotency-Key, what is asked again is made at most once."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.api import answering
from tests.e2e.running import OWNER, PASSWORD, Gateway, serving, settings
from tests.process.running import until

KILLED_AFTER = (0.0, 0.002, 0.004, 0.008, 0.012, 0.016, 0.024, 0.05)
"""Seconds after the request was begun: a create takes a few milliseconds, most of them waiting for the disk."""
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Holder:
    """An account holder, signed in, and the gateway that is killed under them."""

    def __init__(self, gateway: Gateway, client: aiohttp.ClientSession, csrf: str) -> None:
        self.gateway = gateway
        self.client = client
        self.csrf = csrf

    async def create(self, number: int) -> tuple[int, Any] | None:
        """Key ``number`` under an Idempotency-Key of its own; None where management died before it answered."""
        body = {"name": f"key {number}", "scopes": ["View"]}
        fields = {"X-CSRF-Token": self.csrf, "Idempotency-Key": f"create-{number}"}
        try:
            async with self.client.post("/api/keys", json=body, headers=fields) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, ConnectionError):
            return None

    async def create_while_killed(self, number: int, after: float) -> tuple[int, Any] | None:
        """The same, and management is killed meanwhile; back only when another one works."""
        (pid,) = await asyncio.to_thread(self.gateway.pids, "management")
        asked = asyncio.ensure_future(self.create(number))
        await asyncio.sleep(after)
        os.kill(pid, signal.SIGKILL)
        answer = await asked
        await asyncio.to_thread(until, lambda: self.gateway.pids("management") not in ([], [pid]), within=30)
        return answer


@asynccontextmanager
async def holder(gateway: Gateway) -> AsyncIterator[Holder]:
    """Signed in as a person does it."""
    base = f"http://127.0.0.1:{gateway.management}"
    async with aiohttp.ClientSession(base, cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        async with client.get("/sign-in") as page:
            csrf = _CSRF.findall(await page.text())[0]
        fields = {"email": OWNER, "password": PASSWORD, "csrf": csrf}
        async with client.post("/sign-in", data=fields) as page:
            yield Holder(gateway, client, _CSRF.findall(await page.text())[0])


async def test_a_create_that_a_kill_cut_off_is_never_made_twice(tmp_path: Path) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response()

    routes: list[dict[str, object]] = [{"path": "/view", "scope": "View"}]
    seen: Counter[str] = Counter()
    with answering(hello) as port, serving(tmp_path, settings(port, routes)) as gateway:
        async with holder(gateway) as owner:
            for number, after in enumerate(KILLED_AFTER):
                first = await owner.create_while_killed(number, after)
                again = await owner.create(number)
                assert again is not None
                seen[_judged(first, again)] += 1
            async with owner.client.get("/api/keys") as answer:
                made = Counter(key["name"] for key in (await answer.json())["items"])
    assert max(made.values()) == 1
    # What was answered with a key, the first time or the second, is there; what was not may be.
    sure = seen["answered at once"] + seen["made by the repetition"] + seen["made by the first, its answer lost"]
    assert sure <= len(made) <= len(KILLED_AFTER)
    # Otherwise no kill has hit anything, and all this proves nothing.
    assert seen.total() > seen["answered at once"], seen


def _judged(first: tuple[int, Any] | None, again: tuple[int, Any]) -> str:
    """What became of one create; fails where the two answers do not go together."""
    if first is not None:
        assert first[0] == 201
        assert again[0] in (200, 409)  # 409: killed before it was noted that all was done
        return "answered at once"
    if again[0] == 201:
        assert again[1]["key"]
        return "made by the repetition"
    if again[0] == 200:
        assert again[1]["key"] is None
        return "made by the first, its answer lost"
    assert (again[0], again[1]["type"]) == (409, "urn:keystile:problem:outcome-unknown")
    return "nobody knows"


@pytest.mark.parametrize(
    ("first", "again"),
    [((201, {}), (201, {"key": "A"})), (None, (409, {"type": "urn:keystile:problem:in-progress"})), (None, (500, {}))],
)
def test_answers_that_do_not_go_together_are_noticed(first: tuple[int, Any] | None, again: tuple[int, Any]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        _judged(first, again)
