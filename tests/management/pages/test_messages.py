from __future__ import annotations

import re
from pathlib import Path

import keystile.management.pages as pages_package
from keystile.management.pages.messages import DONE
from tests.management.pages.ground import Person

PAGES = Path(pages_package.__path__[0])


def test_every_code_that_a_page_leads_to_has_a_text() -> None:
    used = {code for file in PAGES.glob("*.py") for code in re.findall(r"[?&]done=([a-z-]+)", file.read_text())}
    assert used - {""} <= set(DONE)
    assert {"key-deleted", "key-changed", "key-created"} <= set(DONE)


async def test_a_code_is_said_and_any_other_text_is_not(ann: Person) -> None:
    assert "has been deleted. It is refused from now on" in await ann.get("/keys?done=key-deleted")
    page = await ann.get("/keys?done=Your+account+is+locked,+call+us")
    assert "call us" not in page
    assert 'role="status"' not in page
