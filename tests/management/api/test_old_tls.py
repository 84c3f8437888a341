from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keystile.config.model import Certificate, Legacy, Listener, Tls
from keystile.management.api import old_tls
from keystile.management.api.moments import written
from tests.management.api.checked import Api, User


async def test_an_operator_sees_who_still_calls_over_old_versions(
    api: Api, ann: User, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await api.new_key(ann)
    now = api.app.services.clock()
    empty = await api.get(operator, "/api/old-tls")
    assert (empty["items"], empty["ends"], empty["more"]) == ([], None, False)
    seen = [(made["id"], "1.0", "192.0.2.1", now - 60, 3), (made["id"], "1.1", "2001:db8::1", now - 31 * 86400, 1)]
    await api.app.services.store.record_old_tls(seen)
    told = await api.get(operator, "/api/old-tls")
    assert told["items"] == [
        {
            "account": "ann@example.com",
            "key_id": made["id"],
            "key_name": made["name"],
            "key_hint": made["hint"],
            "version": "1.0",
            "address": "192.0.2.1",
            "first_seen": written(now - 60),
            "last_seen": written(now - 60),
            "requests": 3,
        }
    ]
    await api.app.services.store.record_old_tls([(made["id"], "1.0", "192.0.2.7", now, 1)])
    monkeypatch.setattr(old_tls, "MOST", 1)
    told = await api.get(operator, "/api/old-tls")
    assert (told["more"], [one["address"] for one in told["items"]]) == (True, ["192.0.2.7"])


async def test_the_day_is_told(api: Api, operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    day = float(int(api.app.services.clock()) + 1000)
    tls = Tls((Certificate(Path("a"), Path("b")),), legacy=Legacy("1.1", day))
    wanted = replace(api.app.services.settings, listeners=(Listener("127.0.0.1", 1, tls),))
    looked = replace(api.app.services, settings=wanted)
    monkeypatch.setattr("keystile.management.api.operation.services", lambda request: looked)
    assert (await api.get(operator, "/api/old-tls"))["ends"] == written(day)


async def test_it_is_for_operators(api: Api, ann: User) -> None:
    await api.ask(ann, "GET", "/api/old-tls", status=403)
