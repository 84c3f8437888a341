from __future__ import annotations

import re

from tests.management.pages.ground import Person


async def test_permissions_stand_by_area_with_a_word_of_explanation(ann: Person) -> None:
    page = await ann.get("/keys/new")
    assert re.findall(r"<legend>([^<]+)</legend>", page) == ["Permissions", "Contacts", "Sending", "Templates"]
    assert "Add, change and delete contacts" in page
    assert 'href="/reference?scope=ViewContacts"' in page


async def test_every_field_has_a_label_and_says_where_its_faults_stand(ann: Person) -> None:
    page = await ann.get("/keys/new")
    ids = re.findall(r'<(?:input|textarea)[^>]* id="([^"]+)"', page)
    assert len(ids) > 5
    for each in ids:
        assert f'for="{each}"' in page
    for field in ("name", "networks", "expires"):
        assert re.search(rf'id="{field}"[^>]* aria-describedby="{field}-error {field}-hint"', page)


async def test_ones_own_address_is_offered(ann: Person) -> None:
    assert 'data-add="127.0.0.1"' in await ann.get("/keys/new")


async def test_an_expiry_is_tomorrow_at_the_earliest(ann: Person) -> None:
    assert 'min="2026-09-22"' in await ann.get("/keys/new")
