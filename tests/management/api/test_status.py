from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from keystile.management.certificates import CertificateEnd
from keystile.management.health import Health
from keystile.management.look import Process, ServerState, Status, Traffic, UpstreamState
from keystile.storage.hosts import states_of
from tests.management.api.checked import Api, User
from tests.storage.test_hosts import ONE, host


async def test_an_operator_sees_the_running_gateway(
    api: Api, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = api.app.services.look
    quiet = await look.status()

    async def status() -> Status:
        return dataclasses.replace(
            quiet,
            health=Health(warnings=("a relay hangs",)),
            processes=(Process("management", 10, "up"), Process("relay", 11, "stuck", 3.5)),
            restarts=2,
            traffic=Traffic(5, 1, 2, {"200": 4}, {"scope-missing": 1}, {"TLS 1.3": 2}),
            dropped={"last uses": 3},
            certificates=(CertificateEnd("management 127.0.0.1:8443", "m.pem", ("localhost",), 1_000_000_000.0),),
            hosts=states_of([host(ONE), host(replace(ONE, id="2"), 100.0)], ONE.id),
            host_differences=("they differ",),
        )

    async def upstreams() -> tuple[UpstreamState, ...]:
        return (UpstreamState("api", (ServerState("[::1]:9000", "Connection refused"),)),)

    monkeypatch.setattr(look, "status", status)
    monkeypatch.setattr(look, "upstreams", upstreams)
    told = await api.get(operator, "/api/status")
    assert told["health"] == {"status": "degraded", "reasons": [], "warnings": ["a relay hangs"]}
    assert [process["state"] for process in told["processes"]] == ["up", "stuck"]
    assert told["slots"] == {"taken": 0, "highest": 0, "cap": 20}
    assert told["traffic"]["refused"] == {"scope-missing": 1}
    assert (told["restarts"], told["dropped"]) == (2, {"last uses": 3})
    (server,) = told["upstreams"][0]["servers"]
    assert server == {"address": "[::1]:9000", "reachable": False, "trouble": "Connection refused", "left_out": ""}
    assert told["configuration"]["version"] == 1
    assert told["host_differences"] == ["they differ"]
    assert [(each["id"], each["here"], each["heard"]) for each in told["hosts"]] == [
        (ONE.id, True, True), ("2", False, False)
    ]  # fmt: skip
    assert told["hosts"][0] == {
        "id": ONE.id,
        "name": "one",
        "here": True,
        "heard": True,
        "last_heard": "1970-01-01T00:16:40Z",
        "running_since": "1970-01-01T00:15:40Z",
        "version": "0.1.0",
        "build": "source",
        "schema_known": 2,
        "configuration": 3,
        "settings": "aaaa",
        "slots": "by each host",
        "health": "ok",
        "troubles": [],
    }
    assert told["certificates"] == [
        {
            "place": "management 127.0.0.1:8443",
            "file": "m.pem",
            "names": ["localhost"],
            "ends": "2001-09-09T01:46:40Z",
        }
    ]


async def test_with_a_store_in_a_file_there_are_no_hosts(api: Api, operator: User) -> None:
    told = await api.get(operator, "/api/status")
    assert (told["hosts"], told["host_differences"]) == ([], [])
