from __future__ import annotations

from tests.management.api.checked import Api, User


async def test_events_come_newest_first_with_who_when_and_from_where(api: Api, ann: User) -> None:
    made = await api.new_key(ann, scopes=["Export"])
    path = f"/api/keys/{made['id']}"
    await api.ask(ann, "PATCH", path, {"name": "renamed"}, headers={"If-Match": "*"}, status=200)
    await api.ask(ann, "DELETE", path, status=204)
    events = (await api.get(ann, "/api/events"))["items"]
    assert [event["what"] for event in events[:3]] == ["key.deleted", "key.edited", "key.created"]
    for event in events[:3]:
        assert (event["actor"], event["origin"]) == ("ann@example.com", "api from 127.0.0.1")
        assert (event["account"], event["key_id"], event["key_hint"]) == (
            "ann@example.com",
            made["id"],
            made["hint"],
        )
    assert events[1]["details"] == 'name: "main" → "renamed"'
    assert made["key"] not in str(events)


async def test_events_come_in_pages_that_new_ones_do_not_shift(api: Api, ann: User) -> None:
    for number in range(5):
        await api.new_key(ann, f"k{number}")
    first = await api.get(ann, "/api/events?limit=3")
    await api.new_key(ann, "later")
    second = await api.get(ann, f"/api/events?limit=3&cursor={first['next']}")
    numbers = [event["id"] for event in (*first["items"], *second["items"])]
    assert numbers == sorted(set(numbers), reverse=True)
    assert [event["key_name"] for event in (*first["items"], *second["items"])][:5] == ["k4", "k3", "k2", "k1", "k0"]


async def test_the_last_page_says_that_it_is(api: Api, ann: User) -> None:
    events = await api.get(ann, "/api/events?limit=100")
    count = len(events["items"])
    assert events["next"] is None
    assert (await api.get(ann, f"/api/events?limit={count}"))["next"] is None
    assert (await api.get(ann, f"/api/events?limit={count - 1}"))["next"] is not None


async def test_a_cursor_of_another_list_is_none_here(api: Api, ann: User) -> None:
    for name in ("a", "b"):
        await api.new_key(ann, name)
    cursor = (await api.get(ann, "/api/keys?limit=1"))["next"]
    answer = await api.ask(ann, "GET", f"/api/events?cursor={cursor}", status=400)
    assert answer.json["field"] == "cursor"
