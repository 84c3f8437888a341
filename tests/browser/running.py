"""A real gateway, a real browser, and what people do in it.

Law: the page is reached as people reach it: through its address, by what it shows. Debian's chromium is driven by
Playwright; nothing is loaded from elsewhere, and a page that tries fails the test that sees it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.e2e.backend import Backend
from tests.e2e.examples import Document
from tests.e2e.running import DOCUMENT, OWNER, PASSWORD, Gateway, answered, serving, settings
from tests.lacking import lacks
from tests.node.packages import package

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HEADER = "X-ElasticEmail-ApiKey"
SHOTS = os.environ.get("KEYSTILE_SCREENSHOTS")
"""A directory for pictures of each state, for people to look at; none are taken without it."""


def needs_chromium() -> str:
    """The browser's path. Skips where there is none, but not in CI, which installs it."""
    if CHROMIUM is None:
        lacks("no chromium here (Debian: apt install chromium)")
    return CHROMIUM


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium, for one test: Playwright wants the test's own loop."""
    path = needs_chromium()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            await running.close()


@dataclass
class Site:
    """The gateway, the API behind it, and whose keys a test is about: ``owner``."""

    gateway: Gateway
    backend: Backend
    owner: str = OWNER

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.management}"

    def call(self, key: str, path: str = "/v4/contacts", source: str = "127.0.0.1", method: str = "GET") -> int:
        """The status of a call with a key, through the gateway, from an address."""
        port = self.gateway.ports[0]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
        try:
            return answered(connection, method, path, headers={HEADER: key})[0]
        finally:
            connection.close()


@contextmanager
def site(directory: Path, **more: Any) -> Iterator[Site]:
    """A gateway that has read the API's own document, with the account OWNER."""
    with Backend(Document(DOCUMENT), "/v4").running() as backend:
        route = {
            "openapi": str(DOCUMENT),
            "prefix": "/v4",
            "scope_from_description": "Required Access Level: (.+)",
        }
        written = settings(backend.port, [route], keys={"headers": [HEADER]}, **more)
        with serving(directory, written) as gateway:
            yield Site(gateway, backend)


@dataclass
class Visitor:
    """One person: a browser context of its own, and what went wrong in it."""

    page: Page
    site: Site
    wrong: list[str] = field(default_factory=list)

    def hear(self, said: ConsoleMessage) -> None:
        """A message of the console; that a form was answered with 409 or 422 is what some tests are about."""
        if said.type == "error" and not re.search(r"a status of (409|422) ", said.text):
            self.wrong.append(f"console: {said.text}")

    async def sign_in(self, email: str = "", password: str = PASSWORD) -> None:
        await self.page.goto(f"{self.site.url}/keys")
        await self.page.get_by_label("E-mail").fill(email or self.site.owner)
        await self.page.get_by_label("Password").fill(password)
        await self.page.keyboard.press("Enter")
        await self.page.get_by_role("heading", name="API keys", exact=True).wait_for()

    async def shot(self, name: str) -> None:
        """A picture for people, where they asked for pictures."""
        if SHOTS:
            await self.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)

    async def violations(self) -> list[str]:
        """What axe-core finds on the page as it stands."""
        # Contrast is measured as it is drawn: not while something still fades in.
        await self.page.evaluate("Promise.allSettled(document.getAnimations().map(each => each.finished))")
        source = (package("axe-core") / "axe.min.js").read_text(encoding="utf-8")
        await self.page.evaluate(source)
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{self.page.url}: {each['id']}: {each['help']}: {json.dumps([node['target'] for node in each['nodes']])}"
            for each in found["violations"]
        ]


@asynccontextmanager
async def visiting(opened: Browser, where: Site, **how: Any) -> AsyncIterator[Visitor]:
    """A person with a browser; ``how`` as for a Playwright context (viewport, color_scheme …).

    Every message of the console, every error of a script and every request to elsewhere is a fault.
    """
    context: BrowserContext = await opened.new_context(**how)
    context.set_default_timeout(10_000)
    page = await context.new_page()
    visitor = Visitor(page, where)
    page.on("pageerror", lambda error: visitor.wrong.append(f"script: {error}"))
    page.on("console", visitor.hear)
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((where.url, "data:")) else visitor.wrong.append(f"to {asked.url}"),
    )
    try:
        yield visitor
    finally:
        await context.close()
    assert not visitor.wrong, visitor.wrong
