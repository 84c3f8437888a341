from __future__ import annotations

import re

import pytest

from keystile.management.pages.history import PAGE
from tests.management.pages.ground import BOB, SECRET, Pages, Person


async def test_every_event_of_a_key_is_told_newest_first(ann: Person) -> None:
    await ann.send("/keys/new", {"name": "shop", "access": "view"})
    key = (await ann.keys())["shop"]
    await ann.send(f"/keys/{key.id}/edit", {"name": "shop 2", "access": "full"})
    await ann.send(f"/keys/{key.id}/change", {"overlap": "0"})
    await ann.send(f"/keys/{key.id}/delete")
    page = await ann.get("/history")
    what = re.findall(r'<th scope="row">([^<]+)</th>', page)
    assert what[:4] == ["API key deleted", "API key changed", "API key edited", "API key created"]
    assert "<bdi>You</bdi>" in page
    assert "page from 127.0.0.1" in page
    assert "Name: shop → shop 2" in page
    assert not SECRET.search(page)


async def test_events_of_others_are_not_there(site: Pages, ann: Person) -> None:
    await ann.key("anns own")
    assert "anns own" not in await (await site.person(BOB)).get("/history")


async def test_older_events_are_a_page_further(ann: Person) -> None:
    key = await ann.key("shop")
    for number in range(PAGE + 5):
        await ann.services.keys.edit(ann.email, key_id=key.id, new_name=f"name {number}", actor="x", origin="y")
    seen: list[str] = []
    path: str | None = "/history"
    while path:
        page = await ann.get(path)
        names = re.findall(r"→ (name \d+)<", page)
        assert len(re.findall(r"<tr>\n<th scope=\"row\">", page)) <= PAGE
        seen += names
        found = re.search(r'href="(/history\?before=\d+)">Older', page)
        assert ('href="/history">Newest' in page) == ("before" in path)
        path = found[1] if found else None
    assert seen == [f"name {number}" for number in reversed(range(PAGE + 5))]


@pytest.mark.parametrize("before", ["", "x", "-1", "1e3", "²", "9" * 30])
async def test_a_number_that_is_none_is_no_number(ann: Person, before: str) -> None:
    assert "Account created" in await ann.get(f"/history?before={before}")


async def test_behind_the_oldest_there_is_nothing(ann: Person) -> None:
    assert "There are no older events" in await ann.get("/history?before=1")
