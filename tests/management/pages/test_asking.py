from __future__ import annotations

import pytest

from keystile.management.pages.asking import version_of
from tests.management.pages.ground import Person


@pytest.mark.parametrize(
    ("text", "version"), [("1", 1), ("42", 42), ("", 0), ("-1", 0), ("²", 0), ("1.0", 0), ("9" * 99, 0), (" 1", 0)]
)
def test_a_version_is_a_number_that_a_form_of_ours_holds(text: str, version: int) -> None:
    assert version_of(text) == version


async def test_what_a_page_does_is_told_with_who_and_from_where(ann: Person) -> None:
    await ann.send("/keys/new", {"name": "shop", "access": "view"})
    event = (await ann.services.keys.events(1, account=ann.email))[0]
    assert (event.actor, event.origin) == (ann.email, "page from 127.0.0.1")


async def test_what_is_not_there_is_a_page_with_a_way_back(ann: Person) -> None:
    page = await ann.get("/keys/0123456789abcdef/edit", 404)
    assert "There is no such API key" in page
    assert 'href="/"' in page
