from __future__ import annotations

import pytest

from keystile.keys.secret import digest
from keystile.management.pages.key_change import OVERLAPS
from tests.management.pages.ground import BY, NOW, SECRET, Pages, Person


async def test_a_change_shows_a_new_secret_once_and_keeps_the_rest(site: Pages, ann: Person) -> None:
    key = await ann.key("shop", networks=["10.0.0.1"], expires=NOW + 86400)
    answer = await ann.send(f"/keys/{key.id}/change", {"overlap": "0"})
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    page = await answer.text()
    (secret,) = SECRET.findall(page)
    assert f"•••…{key.hint}</code>, has stopped working." in page
    changed = (await ann.keys())["shop"]
    assert changed.hint == secret[-5:] != key.hint
    assert (changed.id, changed.scopes, changed.networks, changed.expires) == (
        key.id,
        key.scopes,
        key.networks,
        key.expires,
    )
    async with site.services.store.change() as tx:
        assert await tx.knows_digest(digest(secret.encode()))


@pytest.mark.parametrize("overlap", [seconds for seconds in OVERLAPS if seconds != "0"])
async def test_an_overlap_lets_the_old_key_go_on(ann: Person, overlap: str) -> None:
    key = await ann.key("shop")
    page = await (await ann.send(f"/keys/{key.id}/change", {"overlap": overlap})).text()
    assert f"•••…{key.hint}</code>, stops working after" in page
    changed = (await ann.keys())["shop"]
    assert (changed.old_until, changed.old_hint) == (NOW + float(overlap), key.hint)


async def test_none_is_the_overlap_unless_somebody_chooses(ann: Person) -> None:
    key = await ann.key("shop")
    page = await ann.get(f"/keys/{key.id}/change")
    assert 'value="0" required checked' in page
    assert page.count(" checked") == 1
    assert "With the very next request" in page


@pytest.mark.parametrize("overlap", ["-1", "nan", "inf", "1", "9999999999", "x"])
async def test_an_overlap_that_was_not_offered_is_refused(ann: Person, overlap: str) -> None:
    key = await ann.key("shop")
    answer = await ann.send(f"/keys/{key.id}/change", {"overlap": overlap})
    assert answer.status == 422
    assert (await ann.keys())["shop"].hint == key.hint


async def test_the_same_form_sent_again_changes_nothing(ann: Person) -> None:
    key = await ann.key("shop")
    opened = await ann.get(f"/keys/{key.id}/change")
    await ann.send(f"/keys/{key.id}/change", {"overlap": "0"}, opened)
    once = await ann.keys()
    again = await ann.send(f"/keys/{key.id}/change", {"overlap": "0"}, opened)
    assert again.status == 409
    page = await again.text()
    assert "sent before" in page
    assert not SECRET.search(page)
    assert await ann.keys() == once


async def test_a_key_that_was_altered_meanwhile_is_decided_anew(site: Pages, ann: Person) -> None:
    key = await ann.key("shop")
    opened = await ann.get(f"/keys/{key.id}/change")
    await site.services.keys.change(ann.email, key_id=key.id, **BY)
    answer = await ann.send(f"/keys/{key.id}/change", {"overlap": "86400"}, opened)
    assert answer.status == 409
    page = await answer.text()
    assert "altered after you opened this form" in page
    assert 'value="86400" required checked' in page
    assert not SECRET.search(page)
    assert SECRET.search(await (await ann.send(f"/keys/{key.id}/change", {"overlap": "0"}, page)).text())


async def test_a_third_secret_ends_the_first_and_the_form_says_so(ann: Person) -> None:
    key = await ann.key("shop")
    await ann.send(f"/keys/{key.id}/change", {"overlap": "86400"})
    page = await ann.get(f"/keys/{key.id}/change")
    assert f"An earlier key, <code>•••…{key.hint}</code>, still works until" in page
