"""gateway.yaml is edited while the gateway runs: by whom, and whatever is in it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.e2e.api import answering
from tests.e2e.running import Gateway, answered, serving, settings
from tests.process.running import until


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    routes: list[dict[str, Any]] = [{"path": "/view", "scope": "View"}]
    with answering(hello) as port, serving(tmp_path, settings(port, routes, workers=2)) as gateway:
        yield gateway


def edit(gateway: Gateway, **changes: Any) -> None:
    """Write gateway.yaml anew, as editors do: another file under the same name."""
    written = {**yaml.safe_load(gateway.file.read_text()), **changes}
    beside = gateway.file.with_name("gateway.yaml.new")
    beside.write_text(yaml.safe_dump(written))
    beside.replace(gateway.file)


def routes(gateway: Gateway, *more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*yaml.safe_load(gateway.file.read_text())["routes"], *more]


def test_a_change_counts_within_moments_and_nobody_has_to_ask(gateway: Gateway) -> None:
    secret = gateway.create_key("main", "View")
    fields = {"X-Api-Key": secret}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports[0], timeout=30)
    assert answered(connection, "GET", "/new", headers=fields)[0] == 404
    edit(gateway, routes=routes(gateway, {"path": "/new", "scope": "View", "upstream": "api"}))
    until(lambda: gateway.status()["configuration"] == 2, within=20)
    assert answered(connection, "GET", "/new", headers=fields)[0] == 200
    until(lambda: [line["configuration"] for line in logged(gateway, "/new")] == [1, 2])
    assert gateway.metric("configuration") == 2
    connection.close()
    assert gateway.status()["restarts"] == 0


def test_the_command_says_what_came_of_it(gateway: Gateway) -> None:
    assert gateway.run("reload").out == "nothing has changed since 1\n"
    edit(gateway, routes=routes(gateway, {"path": "/new", "public": True, "upstream": "api"}))
    # The gateway may have been quicker than the command.
    said = gateway.run("reload")
    assert (said.code, said.out) in [(0, "configuration 2 is in force\n"), (0, "nothing has changed since 2\n")]
    assert gateway.call(path="/new")[0] == 200
    edit(gateway, workers=3)
    said = gateway.run("reload")
    assert said.code == 1
    assert "workers cannot change while the gateway runs; restart it" in said.err


def test_what_a_reload_would_change_is_told_before_it(gateway: Gateway) -> None:
    assert gateway.run("diff").out == "nothing differs from configuration 1\n"
    # Another file than the one that is watched, beside it: what would happen if it took its place.
    wanted = yaml.safe_load(gateway.file.read_text())
    wanted["routes"] = [{"path": "/view", "public": True, "upstream": "api"}]
    wanted["limits"]["request_timeout"] = "30s"
    candidate = gateway.commands_file = gateway.file.with_name("candidate.yaml")
    candidate.write_text(yaml.safe_dump(wanted))
    assert gateway.run("diff").out.splitlines() == [
        "compared with configuration 1:",
        "limits.request_timeout: 600s → 30s",
        "routes: * /view: View → (public)  ! becomes public",
        "",
        "1 operation would let in whoever is refused now; 1 without any key",
    ]
    found = gateway.ask("diff")
    assert (found["differs"], found["restart"], found["routes"][0]["opening"]) == (True, [], "public")
    assert gateway.status()["configuration"] == 1
    candidate.replace(gateway.file)
    gateway.commands_file = gateway.file
    assert gateway.run("reload").code == 0
    assert gateway.run("diff").out == "nothing differs from configuration 2\n"
    gateway.stop()
    said = gateway.run("diff")
    assert said.code == 1
    assert "no gateway answers" in said.err


def test_what_is_wrong_changes_nothing_and_is_told_with_its_line(gateway: Gateway) -> None:
    gateway.file.write_text(gateway.file.read_text() + "\nkeys: {per_account: many}\n")
    for command in ("reload", "diff"):
        said = gateway.run(command)
        assert said.code == 1
        assert "gateway.yaml:" in said.err
        assert "keys.per_account" in said.err
    assert gateway.ask("status")["configuration"] == 1  # asked with the broken file
    until(lambda: "keys.per_account" in gateway.err.read_text(), within=20)
    secret = gateway_key(gateway)
    assert gateway.status()["configuration"] == 1
    assert "the file on disk was not taken, 1 goes on" in gateway.look("/health")
    assert gateway.metric("configurations_refused_total") >= 1
    assert gateway.call(path="/view", headers={"X-Api-Key": secret})[0] == 200


def gateway_key(gateway: Gateway) -> str:
    """A key of a gateway whose gateway.yaml is broken: commands read another one, of the same store."""
    written = yaml.safe_load("".join(gateway.file.read_text().splitlines(keepends=True)[:-1]))
    gateway.commands_file = gateway.file.with_name("other.yaml")
    gateway.commands_file.write_text(yaml.safe_dump(written))
    return gateway.create_key("main", "View")


def test_management_follows_without_a_restart(gateway: Gateway) -> None:
    management = gateway.pids("management")
    assert "/sign-in" in gateway.look("/sign-in")
    edit(gateway, management={"address": "127.0.0.1:0", "hosts": ["gateway.example"]})
    until(lambda: "this host is not served here" in gateway.look("/sign-in"), within=20)
    edit(gateway, management={"address": "127.0.0.1:0"})
    until(lambda: "this host is not served here" not in gateway.look("/sign-in"), within=20)
    assert gateway.pids("management") == management


def test_what_is_logged_and_served_beside_changes_without_a_restart(gateway: Gateway) -> None:
    log = gateway.directory / "access.log"
    calls = {"prefix": "/v4/security"}
    edit(gateway, access_log="access.log", management_routes=calls, keys={"headers": ["X-ElasticEmail-ApiKey"]})
    assert gateway.run("reload").code == 0
    secret = gateway.create_key("manager", "ViewAccessTokens")
    fields = {"X-ElasticEmail-ApiKey": secret}
    status, body = gateway.call(path="/v4/security/apikeys", headers=fields)
    assert (status, b'"manager"' in body) == (200, True), body
    until(lambda: log.exists() and '"/v4/security/apikeys"' in log.read_text())
    assert '"/v4/security/apikeys"' not in gateway.out.read_text()
    edit(gateway, access_log=False, management_routes=None)
    assert gateway.run("reload").code == 0
    before = log.read_text()
    assert gateway.call(path="/v4/security/apikeys", headers=fields)[0] == 404
    edit(gateway, access_log="stdout", management_routes=None)
    assert gateway.run("reload").code == 0
    assert gateway.call(path="/here/again", headers=fields)[0] == 404
    until(lambda: '"/here/again"' in gateway.out.read_text())
    assert log.read_text() == before


def test_an_upstream_that_is_removed_finishes_what_it_has_begun(tmp_path: Path) -> None:
    go = threading.Event()
    begun = threading.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first,")
        begun.set()
        while not go.is_set():  # noqa: ASYNC110 - the other side is a thread
            await asyncio.sleep(0.01)
        await answer.write(b"last")
        return answer

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    def long_one() -> None:
        answers.append(gateway.call(path="/slow"))

    answers: list[tuple[int, bytes]] = []
    with answering(slow) as old, answering(hello) as new:
        written = settings(old, [{"path": "/slow", "public": True}], workers=1)
        with serving(tmp_path, written) as gateway:
            caller = threading.Thread(target=long_one)
            caller.start()
            assert begun.wait(20)
            # Upstream, route and listener go; others come.
            written["upstreams"] = {"other": {"servers": [f"http://127.0.0.1:{new}"]}}
            written["routes"] = [{"path": "/new", "public": True, "upstream": "other"}]
            gateway.file.write_text(yaml.safe_dump(written))
            assert gateway.run("reload").code == 0
            assert gateway.call(path="/new") == (200, b"hello")
            assert gateway.call(path="/slow")[0] == 401
            assert not answers
            go.set()
            caller.join(20)
            assert answers == [(200, b"first,last")]
            until(lambda: [one["configuration"] for one in logged(gateway, "/slow")] == [2, 1])
            assert gateway.status()["slots_taken"] == 0


def logged(gateway: Gateway, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gateway.out.read_text().splitlines() if f'"path":"{path}"' in line]


def test_traffic_does_not_notice_reloads(gateway: Gateway) -> None:
    secret = gateway.create_key("main", "View")
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def call() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.ports[0], timeout=30)
        while not over.is_set():
            statuses[answered(connection, "GET", "/view", headers={"X-Api-Key": secret})[0]] += 1
        connection.close()

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for number in range(10):
        edit(gateway, health_path=f"/health{number}")
        os.kill(gateway.process.pid, signal.SIGHUP)
        until(lambda n=number: gateway.call(path=f"/health{n}")[0] == 200, within=20)  # type: ignore[misc]
    over.set()
    for caller in callers:
        caller.join()
    assert set(statuses) == {200}
    assert statuses[200] > 10
    assert gateway.status()["restarts"] == 0
