from __future__ import annotations

from tests.management.pages.ground import BY, NOW, Pages, Person

HOUR = int(NOW // 3600)


async def test_a_key_is_deleted(ann: Person) -> None:
    key = await ann.key("shop")
    answer = await ann.send(f"/keys/{key.id}/delete")
    assert (answer.status, answer.headers["Location"]) == (303, "/keys?done=key-deleted")
    assert await ann.keys() == {}
    assert (await ann.post(f"/keys/{key.id}/delete", {"version": "1"})).status == 404


async def test_what_was_used_lately_is_named(site: Pages, ann: Person) -> None:
    key = await ann.key("shop")
    await site.services.store.record_uses([(key.id, NOW - 7200, "203.0.113.9", "")])
    sums = [(HOUR - 1, "", 1200), (HOUR - 100, "", 34), (HOUR - 2, "expired", 5), (HOUR - 24 * 8, "", 9999)]
    await site.services.store.record_usage([(key.id, *row) for row in sums])
    page = " ".join((await ann.get(f"/keys/{key.id}/delete")).split())
    assert ">2 hours ago</time> from <code>203.0.113.9</code>" in page
    assert "<strong>1,234</strong> requests, and 5 were refused" in page


async def test_a_key_that_was_never_used_is_called_so(ann: Person) -> None:
    key = await ann.key("shop")
    assert "Nothing has ever been asked with it" in await ann.get(f"/keys/{key.id}/delete")


async def test_one_request_is_one_request(site: Pages, ann: Person) -> None:
    key = await ann.key("shop")
    await site.services.store.record_usage([(key.id, HOUR, "", 1), (key.id, HOUR, "expired", 1)])
    page = " ".join((await ann.get(f"/keys/{key.id}/delete")).split())
    assert "<strong>1</strong> request, and 1 was refused" in page


async def test_a_key_that_was_altered_meanwhile_is_decided_anew(site: Pages, ann: Person) -> None:
    key = await ann.key("shop")
    opened = await ann.get(f"/keys/{key.id}/delete")
    await site.services.keys.edit(ann.email, key_id=key.id, new_name="shop, live", **BY)
    answer = await ann.send(f"/keys/{key.id}/delete", opened=opened)
    assert answer.status == 409
    page = await answer.text()
    assert "Name: shop → shop, live" in page
    assert (await ann.send(f"/keys/{key.id}/delete", opened=page)).status == 303


async def test_looking_deletes_nothing(ann: Person) -> None:
    key = await ann.key("shop")
    await ann.get(f"/keys/{key.id}/delete")
    assert list(await ann.keys()) == ["shop"]
