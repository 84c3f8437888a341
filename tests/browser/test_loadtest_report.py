"""The reports of load tests in a real browser: nothing is loaded or run, everything can be read, on a phone too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page

from keystile.loadtest import report
from keystile.loadtest.comparison import compare
from tests.browser.running import SHOTS, browser
from tests.loadtest.examples import record
from tests.node.packages import package

pytestmark = pytest.mark.timeout(180)
AXE = "axe.run(document, {resultTypes: ['violations']})"


def pages(folder: Path) -> list[Path]:
    """A run that failed, and a comparison."""
    bad = record(p99=0.06, scenario="steady </title><script>alert(1)</script>")
    bad = replace(bad, windows=tuple(replace(each, wrong={"no-connection": 2}) for each in bad.windows))
    made = {"run.html": report.page(bad), "compare.html": report.comparison_page(compare(record(), bad))}
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in made]


async def violations(page: Page) -> list[str]:
    await page.evaluate((package("axe-core") / "axe.min.js").read_text(encoding="utf-8"))
    found = await page.evaluate(AXE)
    return [
        f"{each['id']}: {each['help']}: {json.dumps([node['target'] for node in each['nodes']])}"
        for each in found["violations"]
    ]


LOOKS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1280, "light"), (360, "dark"))


async def test_reports_can_be_read_by_everybody_and_load_nothing(tmp_path: Path) -> None:
    wrong: list[str] = []
    files = pages(tmp_path)
    async with browser() as opened:
        for width, scheme in LOOKS:
            context = await opened.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page = await context.new_page()
            page.on("console", lambda said: wrong.append(said.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda asked: None if asked.url.startswith("file:") else wrong.append(asked.url))
            for file in files:
                await page.goto(file.as_uri())
                for summary in await page.locator("summary").all():
                    await summary.click()
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                assert await violations(page) == []
                if SHOTS:
                    await page.screenshot(path=Path(SHOTS) / f"{file.stem}-{width}.png", full_page=True)
            await context.close()
    assert wrong == []
