from __future__ import annotations

import pytest

from keystile.keys.networks import Networks
from keystile.management.pages.key_networks import note
from tests.management.pages.ground import Pages, Person


async def test_what_is_typed_is_judged_entry_by_entry(ann: Person) -> None:
    answer = await ann.post("/keys/check-networks", {"networks": "10.0.0.0/8\nnonsense\n10.0.0.9-10.0.0.1"})
    assert answer.status == 200
    told = await answer.json()
    assert [text.split(" is not")[0] for text in told["faults"]] == ["'nonsense'", "'10.0.0.9-10.0.0.1'"]


async def test_good_entries_are_answered_in_their_canonical_form(ann: Person) -> None:
    answer = await ann.post("/keys/check-networks", {"networks": "2001:DB8::0/32, ::ffff:127.0.0.1"})
    told = await answer.json()
    assert told["entries"] == ["2001:db8::/32", "127.0.0.1"]
    assert told["note"] == "2 entries. Your address now, 127.0.0.1, is among them."


@pytest.mark.parametrize(
    ("texts", "address", "words"),
    [
        ([], "192.0.2.1", "Without entries the key may be used from everywhere."),
        (["10.0.0.1"], "192.0.2.1", "1 entry. Your address now, 192.0.2.1, is not among them."),
        (["10.0.0.1"], "unknown", "1 entry."),
    ],
)
def test_the_note_warns_who_would_lock_themselves_out(texts: list[str], address: str, words: str) -> None:
    assert note(Networks.parse(texts), address) == words


async def test_nobody_else_is_answered(site: Pages, ann: Person) -> None:
    assert (await site.client.post("/keys/check-networks", data={"networks": "x"}, allow_redirects=False)).status == 303
    assert (await ann.post("/keys/check-networks", {"networks": "x"}, csrf="")).status == 403
