from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.key import ApiKey
from keystile.management.pages.key_edit import merged
from keystile.management.pages.key_forms import Typed, scopes_of
from tests.management.pages.ground import BOB, BY, NOW, Pages, Person
from tests.management.pages.test_key_forms import CATALOGUE

KEEP = {"name": "shop", "access": "custom", "scope": "ViewContacts", "networks": "", "expires": ""}


async def _edit(ann: Person, key: ApiKey, opened: str | None = None, **changed: str) -> Any:
    return await ann.send(f"/keys/{key.id}/edit", KEEP | changed, opened)


async def test_the_form_shows_the_key_as_it_is(ann: Person) -> None:
    key = await ann.key("shop", networks=["10.0.0.1"], expires=1798675200.0)
    page = await ann.get(f"/keys/{key.id}/edit")
    for text in ('value="shop"', ">\n10.0.0.1</textarea>", 'value="2026-12-31"', 'value="custom" required checked'):
        assert text in page
    assert re.findall(r'name="scope" value="([A-Za-z]+)"[^>]* checked', page) == ["ViewContacts"]


async def test_what_is_saved_counts(ann: Person) -> None:
    key = await ann.key("shop")
    answer = await _edit(ann, key, name="shop 2", access="full", networks="10.0.0.0/8", expires="2026-12-31")
    assert (answer.status, answer.headers["Location"]) == (303, "/keys?done=key-edited")
    saved = (await ann.keys())["shop 2"]
    assert (saved.id, len(saved.scopes), saved.networks.text, saved.expires) == (key.id, 5, "10.0.0.0/8", 1798675200.0)


async def test_saving_nothing_new_says_so(ann: Person) -> None:
    key = await ann.key("shop")
    assert (await _edit(ann, key)).headers["Location"] == "/keys?done=key-unchanged"


async def test_a_key_that_has_expired_can_be_renamed(site: Pages, ann: Person) -> None:
    key = await ann.key("shop", expires=NOW + 60)
    site.clock.now += 3 * 86400
    answer = await _edit(ann, key, name="old shop", expires="2026-09-21")
    assert answer.status == 303
    assert (await ann.keys())["old shop"].expires == NOW + 60


async def test_permissions_that_no_route_uses_are_shown_and_kept(ann: Person) -> None:
    key = await ann.key("shop", scopes=["ViewContacts", "Gone"])
    assert re.search(r'value="Gone" checked', await ann.get(f"/keys/{key.id}/edit"))
    pairs = [*KEEP.items(), ("scope", "Gone"), ("scope", "SendHttp")]
    await ann.send(f"/keys/{key.id}/edit", pairs)
    assert (await ann.keys())["shop"].scopes == {"ViewContacts", "Gone", "SendHttp"}


async def test_two_at_once_lose_nothing(site: Pages, ann: Person) -> None:
    key = await ann.key("shop")
    opened = await ann.get(f"/keys/{key.id}/edit")
    by: dict[str, Any] = {"actor": "operator (command line)", "origin": "console"}
    await site.services.keys.edit(ann.email, key_id=key.id, new_name="theirs", networks=["10.0.0.1"], **by)
    answer = await _edit(ann, key, opened, name="mine", access="full")
    assert answer.status == 409
    page = await answer.text()
    # What was typed here stays, what was touched only there is taken over, and who did what is told.
    assert 'value="mine"' in page
    assert "Meanwhile saved: theirs" in page
    assert ">\n10.0.0.1</textarea>" in page
    assert 'value="full" required checked' in page
    assert "operator (command line)" in page
    assert "Name: shop → theirs" in page
    assert (await ann.keys())["theirs"].version == 2
    # Saving again is the person's own decision, and works.
    both = {"name": "mine", "access": "full", "networks": "10.0.0.1", "expires": ""}
    assert (await ann.send(f"/keys/{key.id}/edit", both, page)).status == 303
    saved = (await ann.keys())["mine"]
    assert (saved.networks.text, len(saved.scopes), saved.version) == ("10.0.0.1", 5, 3)


async def test_a_conflict_inside_the_transaction_is_told_as_well(
    site: Pages, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await ann.key("shop")
    edit = site.services.keys.edit

    async def late(*args: Any, **given: Any) -> Any:
        await edit(ann.email, key_id=key.id, new_name="theirs", **BY)
        return await edit(*args, **given)

    opened = await ann.get(f"/keys/{key.id}/edit")
    monkeypatch.setattr(type(site.services.keys), "edit", lambda _, *args, **given: late(*args, **given))
    answer = await _edit(ann, key, opened, name="mine")
    assert answer.status == 409
    assert "Meanwhile saved: theirs" in await answer.text()


async def test_a_name_of_another_key_is_a_fault_and_no_error(ann: Person) -> None:
    await ann.key("taken")
    key = await ann.key("shop")
    answer = await _edit(ann, key, name="taken")
    assert answer.status == 422
    assert "already has a key named" in await answer.text()


@pytest.mark.parametrize("form", ["edit", "change", "delete"])
async def test_a_key_of_another_account_is_not_there(site: Pages, ann: Person, form: str) -> None:
    key = await ann.key("shop")
    bob = await site.person(BOB)
    for path in (f"/keys/{key.id}/{form}", f"/keys/none/{form}", f"/keys/%00/{form}"):
        page = await bob.get(path, 404)
        assert "There is no such API key" in page
        assert "shop" not in page
        answer = await bob.post(path, KEEP | {"version": "1", "overlap": "0"})
        assert answer.status == 404
    assert (await ann.keys())["shop"] == key


@pytest.mark.parametrize("form", ["edit", "change", "delete"])
async def test_without_the_sessions_own_token_nothing_happens(ann: Person, form: str) -> None:
    key = await ann.key("shop")
    fields = KEEP | {"name": "x", "version": "1", "overlap": "0"}
    assert (await ann.post(f"/keys/{key.id}/{form}", fields, csrf="")).status == 403
    assert (await ann.keys())["shop"] == key


@pytest.mark.parametrize("version", ["", "-1", "1e1", "²", "9" * 40, "2"])
async def test_a_version_that_is_not_the_keys_is_a_conflict(ann: Person, version: str) -> None:
    key = await ann.key("shop")
    answer = await ann.post(f"/keys/{key.id}/edit", KEEP | {"name": "x", "version": version})
    assert answer.status == 409
    assert "x" not in await ann.keys()


FORMS = st.builds(
    Typed,
    name=st.sampled_from("abc"),
    access=st.sampled_from(["full", "view", "custom"]),
    chosen=st.frozensets(st.sampled_from(["ViewContacts", "SendHttp"])),
    networks=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    expires=st.sampled_from(["", "2026-12-31", "2027-12-31"]),
)


@given(FORMS, FORMS, FORMS)
def test_merging_keeps_what_each_touched(opened: Typed, mine: Typed, theirs: Typed) -> None:
    form, remarks = merged(opened, mine, theirs, CATALOGUE)
    views: dict[str, Callable[[Typed], object]] = {
        "name": lambda each: each.name,
        "networks": lambda each: each.networks,
        "expires": lambda each: each.expires,
        "access": lambda each: scopes_of(each, CATALOGUE),
    }
    for field, view in views.items():
        before, here, there, now = (view(each) for each in (opened, mine, theirs, form))
        assert now == (there if here == before else here)
        assert (field in remarks) == (here != before and there not in (before, here))
