from __future__ import annotations

import pytest

from keystile.management.api.moments import written
from tests.management.api.checked import Api, User


async def test_usage_is_told_by_hour_with_what_was_refused_and_why(api: Api, ann: User) -> None:
    made, other = await api.new_key(ann), await api.new_key(ann, "other")
    now = int(api.app.services.clock() // 3600)
    await api.app.services.store.record_usage(
        [
            (made["id"], now, "", 7),
            (made["id"], now, "scope-missing", 2),
            (made["id"], now - 1, "address-not-allowed", 1),
            (made["id"], now - 24 * 8, "", 9),
            (other["id"], now, "", 100),
        ]
    )
    usage = await api.get(ann, f"/api/keys/{made['id']}/usage")
    assert usage["hours"] == [
        {"hour": written((now - 1) * 3600), "answered": 0, "refused": {"address-not-allowed": 1}},
        {"hour": written(now * 3600), "answered": 7, "refused": {"scope-missing": 2}},
    ]
    one = await api.get(ann, f"/api/keys/{made['id']}/usage?hours=1")
    assert (one["since"], len(one["hours"])) == (written(now * 3600), 1)
    all_of_it = await api.get(ann, f"/api/keys/{made['id']}/usage?hours=744")
    assert all_of_it["hours"][0]["answered"] == 9


@pytest.mark.parametrize("hours", ["0", "745", "-1", "1.5", "x", ""])
async def test_hours_are_a_number_up_to_a_month(api: Api, ann: User, hours: str) -> None:
    made = await api.new_key(ann)
    answer = await api.ask(ann, "GET", f"/api/keys/{made['id']}/usage?hours={hours}", status=400)
    assert answer.json["field"] == "hours"
