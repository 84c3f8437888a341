from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from keystile.keys.secret import digest
from tests.management.pages.ground import SCOPES, SECRET, Pages, Person, hidden, pages

CUSTOM = [("access", "custom"), ("scope", "ViewContacts")]


async def test_a_key_is_made_as_the_form_says_and_shown_once(site: Pages, ann: Person) -> None:
    fields = [*CUSTOM, ("name", " shop "), ("networks", "10.0.0.1, 10.1.0.0/16"), ("expires", "2026-12-31")]
    answer = await ann.send("/keys/new", fields)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    (secret,) = SECRET.findall(await answer.text())
    key = (await ann.keys())["shop"]
    assert key.scopes == {"ViewContacts"}
    assert (key.networks.texts, key.expires) == (("10.0.0.1", "10.1.0.0/16"), 1798675200.0)
    async with site.services.store.change() as tx:
        assert await tx.knows_digest(digest(secret.encode()))


async def test_after_it_only_the_last_five_are_anywhere(ann: Person) -> None:
    answer = await ann.send("/keys/new", [*CUSTOM, ("name", "shop")])
    (secret,) = SECRET.findall(await answer.text())
    key = (await ann.keys())["shop"]
    paths = ["/keys", "/history", "/keys/new", *(f"/keys/{key.id}/{form}" for form in ("edit", "change", "delete"))]
    for path in paths:
        page = await ann.get(path)
        assert not SECRET.search(page)
        assert secret[:90] not in page
    assert f"•••…{secret[-5:]}" in await ann.get("/keys")


@pytest.mark.parametrize(("access", "scopes"), [("full", set(SCOPES)), ("view", {"ViewContacts", "ViewTemplates"})])
async def test_a_preset_stores_its_explicit_list(ann: Person, access: str, scopes: set[str]) -> None:
    await ann.send("/keys/new", {"name": "shop", "access": access, "scope": "SendHttp"})
    assert (await ann.keys())["shop"].scopes == scopes


async def test_the_same_form_sent_again_makes_nothing_and_shows_nothing(ann: Person) -> None:
    opened = await ann.get("/keys/new")
    first = await ann.send("/keys/new", [*CUSTOM, ("name", "shop")], opened)
    assert SECRET.search(await first.text())
    for name in ("shop", "another"):
        again = await ann.send("/keys/new", [*CUSTOM, ("name", name)], opened)
        assert again.status == 409
        text = await again.text()
        assert "sent before" in text
        assert not SECRET.search(text)
    assert list(await ann.keys()) == ["shop"]


async def test_a_form_sent_many_times_at_once_makes_one_key(ann: Person) -> None:
    opened = await ann.get("/keys/new")
    answers = await asyncio.gather(
        *(ann.send("/keys/new", [*CUSTOM, ("name", f"key {n}")], opened) for n in range(8))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert len(await ann.keys()) == 1


async def test_faults_stand_beside_their_fields_and_nothing_typed_is_lost(ann: Person) -> None:
    fields = {"name": "", "access": "custom", "scope": "SendHttp", "networks": "10.0.0.5/8", "expires": "2020-01-01"}
    answer = await ann.send("/keys/new", fields)
    assert answer.status == 422
    page = await answer.text()
    for field, words in (("name", "needs a name"), ("networks", "10.0.0.0/8 would be right"), ("expires", "the past")):
        assert re.search(rf'id="{field}-error"[^>]*>\s*<p class="error">[^<]*{words}', page)
    assert ">\n10.0.0.5/8</textarea>" in page.replace("&#39;", "'")
    assert re.search(r'value="custom" required checked', page)
    assert re.search(r'value="SendHttp"[^>]* checked', page)
    assert 'value="2020-01-01"' in page
    # Focus goes to the first field that is wrong.
    assert re.findall(r'id="([a-z]+)"[^>]* autofocus', page) == ["name"]
    # A fault gives the form's number back.
    assert (await ann.send("/keys/new", [*CUSTOM, ("name", "shop")], page)).status == 200


async def test_a_name_that_is_taken_is_told_beside_the_name(ann: Person) -> None:
    await ann.key("shop")
    answer = await ann.send("/keys/new", [*CUSTOM, ("name", "shop")])
    assert answer.status == 422
    assert re.search(r'id="name-error"[^>]*>\s*<p class="error">[^<]*already has a key', await answer.text())


async def test_nothing_is_chosen_for_anybody(ann: Person) -> None:
    assert " checked" not in await ann.get("/keys/new")
    answer = await ann.send("/keys/new", {"name": "shop"})
    assert "Choose what the key may do" in await answer.text()


async def test_the_last_place_goes_to_one(tmp_path: Path) -> None:
    async with pages(tmp_path, per_account=1) as site:
        ann = await site.person()
        forms = [await ann.get("/keys/new") for _ in range(2)]
        answers = [await ann.send("/keys/new", [*CUSTOM, ("name", f"{n}")], form) for n, form in enumerate(forms)]
        assert [answer.status for answer in answers] == [200, 422]
        page = await answers[1].text()
        assert "as many keys as an account may own" in page
        assert 'role="alert"' in page


@pytest.mark.parametrize("csrf", ["", "x", "0" * 64])
async def test_without_the_sessions_own_token_nothing_is_made(ann: Person, csrf: str) -> None:
    answer = await ann.post("/keys/new", [*CUSTOM, ("name", "shop")], csrf=csrf)
    assert answer.status == 403
    assert await ann.keys() == {}


async def test_a_form_from_another_site_is_refused(ann: Person) -> None:
    answer = await ann.post("/keys/new", [*CUSTOM, ("name", "shop")], Origin="https://evil.example")
    assert answer.status == 403
    assert await ann.keys() == {}


async def test_who_has_not_signed_in_is_led_to_the_door(site: Pages) -> None:
    answer = await site.client.post("/keys/new", data={"name": "x"}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in")


@pytest.mark.parametrize("number", ["", "x", "0" * 31, "../../etc", "\x00"])
async def test_a_number_that_no_page_made_is_not_relied_on(ann: Person, number: str) -> None:
    for name in ("one", "two"):
        assert (await ann.post("/keys/new", [*CUSTOM, ("name", name), ("form", number)])).status == 200
    assert len(await ann.keys()) == 2


async def test_one_accounts_form_is_no_others(site: Pages, ann: Person) -> None:
    bob = await site.person("bob@example.com")
    opened = await ann.get("/keys/new")
    for person in (ann, bob):
        answer = await person.post("/keys/new", [*CUSTOM, ("name", "shop"), ("form", hidden(opened)["form"])])
        assert answer.status == 200


async def test_the_popup_warns_and_wants_to_be_told_that_it_was_copied(ann: Person) -> None:
    page = await (await ann.send("/keys/new", [*CUSTOM, ("name", "shop")])).text()
    assert "it will not be shown again" in page
    assert "data-deliberate" in page
    assert '<input type="checkbox" id="copied" required>' in page
    assert '<form method="get" action="/keys">' in page


async def test_a_permission_that_no_route_uses_is_told(ann: Person) -> None:
    answer = await ann.send("/keys/new", {"name": "odd", "access": "custom", "scope": "Strange", "expires": ""})
    assert answer.status == 200
    assert (await ann.keys())["odd"].scopes == {"Strange"}
