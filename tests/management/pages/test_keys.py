from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.management.pages.ground import BOB, BY, NOW, Pages, Person, pages


async def test_an_empty_list_says_what_a_key_is_for(ann: Person) -> None:
    page = await ann.get("/keys")
    assert "You have no API key yet" in page
    assert "not an SMTP credential" in page
    assert "0 of 15" in page


async def test_the_list_shows_every_fact_of_a_key(site: Pages, ann: Person) -> None:
    key = await ann.key("shop", scopes=["ViewContacts"], networks=["203.0.113.0/24"], expires=NOW + 86400 * 3)
    await site.services.store.record_uses([(key.id, NOW - 180, "203.0.113.9", "")])
    page = await ann.get("/keys")
    for text in ("shop", f"•••…{key.hint}", "Contacts", "203.0.113.0/24", "21 Sep 2026", "3 minutes ago", "1 of 15"):
        assert text in page
    assert "from <code>203.0.113.9</code>" in page
    assert re.search(r"Active</span><span class=\"hint\">expires <time [^>]+>in 3 days</time>", page)


async def test_a_key_that_has_expired_says_so(site: Pages, ann: Person) -> None:
    await ann.key("shop", expires=NOW + 60)
    site.clock.now += 61
    page = await ann.get("/keys")
    assert "Expired" in page
    assert "Active" not in page


async def test_an_old_key_in_its_overlap_is_shown_until_it_ends(site: Pages, ann: Person) -> None:
    key = await ann.key("shop")
    await site.services.keys.change(ann.email, key_id=key.id, overlap=3600, **BY)
    assert f"old key <code>•••…{key.hint}</code> ends" in await ann.get("/keys")
    site.clock.now += 3600
    assert "old key" not in await ann.get("/keys")


async def test_a_key_that_came_in_clear_says_so_until_it_is_changed(site: Pages, ann: Person) -> None:
    key = await ann.key("shop")
    await site.services.keys.report_exposed(key.id)
    assert "Exposed" in await ann.get("/keys")
    assert "API key sent without TLS" in await ann.get("/history")
    await site.services.keys.change(ann.email, key_id=key.id, overlap=0, **BY)
    assert "Exposed" not in await ann.get("/keys")


async def test_nobody_sees_the_keys_of_others(site: Pages, ann: Person) -> None:
    await ann.key("anns own")
    assert "anns own" not in await (await site.person(BOB)).get("/keys")
    assert (await site.client.get("/keys", allow_redirects=False)).headers["Location"] == "/sign-in?next=/keys"


async def test_with_all_keys_in_use_the_button_explains(tmp_path: Path) -> None:
    async with pages(tmp_path, per_account=2) as site:
        ann = await site.person()
        for name in "ab":
            await ann.key(name)
        page = await ann.get("/keys")
        assert "2 of 2: delete a key to make room" in page
        assert re.search(r'id="new-key" href="/keys/new" data-dialog aria-disabled="true"', page)
        explained = await ann.get("/keys/new")
        assert "All 2 API keys are in use" in explained
        assert "<form method=\"post\" action=\"/keys" not in explained


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' autofocus onfocus='alert(1)",
        "{{ 7 * 7 }}{% raw %}",
        "</title><b>",
        "&lt;b&gt;&#60;",
        "--><!--",
    ],
)
async def test_a_name_is_text_on_every_page(ann: Person, name: str) -> None:
    key = await ann.key(name)
    forms = [f"/keys/{key.id}/{form}" for form in ("edit", "change", "delete")]
    for path in ("/keys", "/history", *forms):
        page = await ann.get(path)
        for tag in ("<script>", "<img", "<b>", "<!--"):
            assert tag not in page
        assert "7 * 7" in page or "7" not in name
        assert name not in page or not set(name) & set("<>\"'&")


async def test_a_name_cannot_turn_the_text_around_it(ann: Person) -> None:
    key = await ann.key("a\u202eb\u2069c")
    for path in ("/keys", "/history", f"/keys/{key.id}/delete"):
        page = await ann.get(path)
        assert "a[U+202E]b[U+2069]c" in page
        assert "\u202e" not in page
