"""gateway.yaml is edited while the gateway runs: by whom, and whatever is in it."""

from __future__ import annotations

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
    until(lambda: gateway.out.read_text().count('"path":"/new"') == 2)
    lines = [json.loads(line) for line in gateway.out.read_text().splitlines() if '"path":"/new"' in line]
    assert [line["configuration"] for line in lines] == [1, 2]
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


def test_what_is_wrong_changes_nothing_and_is_told_with_its_line(gateway: Gateway) -> None:
    gateway.file.write_text(gateway.file.read_text() + "\nlimits: {concurrent_requests_per_ip: many}\n")
    said = gateway.run("reload")
    assert said.code == 1
    assert "limits.concurrent_requests_per_ip" in said.err
    until(lambda: "limits.concurrent_requests_per_ip" in gateway.err.read_text(), within=20)
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
