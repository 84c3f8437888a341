"""Several servers behind a real gateway: health checks by management, heard by every relay, seen by operators."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.e2e.api import answering
from tests.e2e.running import Gateway, serving, settings
from tests.process.running import until

CHECK = {"path": "/health", "interval": "200ms", "timeout": "200ms", "healthy_after": 1, "unhealthy_after": 2}


class Api:
    """A server with a name; ``well`` is what it says when it is asked whether it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.well = True
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/health":
            return web.Response(status=200 if self.well else 503)
        return web.Response(text=self.name)


class Calling:
    """Calls without a pause from another thread; every one is counted, by who answered or with what status."""

    def __init__(self, gateway: Gateway) -> None:
        self.answers: Counter[str] = Counter()
        self._gateway = gateway
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            status, body = self._gateway.call(path="/open")
            self.answers[body.decode() if status == 200 else str(status)] += 1
            time.sleep(0.003)  # enough calls, and not the whole machine

    def fresh(self, calls: int = 20) -> Counter[str]:
        """What the next so many calls were answered with."""
        before = self.answers.copy()
        until(lambda: self.answers.total() >= before.total() + calls, within=30)
        return self.answers - before

    def __enter__(self) -> Calling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)


@contextmanager
def apis(*names: str) -> Iterator[list[Api]]:
    made = [Api(name) for name in names]
    with ExitStack() as stack:
        for one in made:
            one.port = stack.enter_context(answering(one.answer))
        yield made


def upstream(*servers: Api) -> dict[str, Any]:
    return {"api": {"servers": [f"http://127.0.0.1:{one.port}" for one in servers], "health_check": CHECK}}


def change(gateway: Gateway, **changes: Any) -> None:
    written = {**yaml.safe_load(gateway.file.read_text()), **changes}
    beside = gateway.file.with_name("new.yaml")
    beside.write_text(yaml.safe_dump(written))
    beside.replace(gateway.file)


def up(gateway: Gateway) -> dict[str, int]:
    """``keystile_upstream_server_up`` by port."""
    found = re.findall(r'upstream_server_up\{upstream="api",server="127.0.0.1:(\d+)"\} (\d)', gateway.look("/metrics"))
    return {port: int(value) for port, value in found}


def test_a_server_that_the_checks_find_ill_gets_nothing_until_it_is_well_whatever_happens(tmp_path: Path) -> None:
    routes = [{"path": "/open", "public": True}]
    with apis("a", "b") as (a, b):
        written = settings(9, routes, workers=2, upstreams=upstream(a, b))
        with serving(tmp_path, written) as gateway, Calling(gateway) as calling:
            assert set(calling.fresh()) == {"a", "b"}
            until(lambda: up(gateway) == {str(a.port): 1, str(b.port): 1})

            a.well = False
            until(lambda: set(calling.fresh(20)) == {"b"}, within=30)
            assert up(gateway) == {str(a.port): 0, str(b.port): 1}
            health = json.loads(gateway.look("/health"))
            assert health == {"status": "degraded", "warnings": ["upstreams: api lacks 1 of 2"]}
            states = {one["server"]: one["state"] for one in gateway.status()["upstream_servers"]}
            assert states == {f"127.0.0.1:{a.port}": "the health checks find it down", f"127.0.0.1:{b.port}": "used"}

            # The servers change places: what was said of the first is never taken for the other.
            change(gateway, upstreams=upstream(b, a))
            until(lambda: gateway.status()["configuration"] == 2, within=30)
            assert set(calling.fresh(60)) == {"b"}

            # Nobody asks any more; what was said last holds.
            (management,) = gateway.pids("management")
            os.kill(management, signal.SIGKILL)
            assert set(calling.fresh(20)) == {"b"}
            until(lambda: gateway.pids("management") not in ([], [management]), within=30)

            a.well = True
            until(lambda: set(calling.fresh(20)) == {"a", "b"}, within=30)
            b.well = a.well = False
            until(lambda: set(calling.fresh(20)) == {"503"}, within=30)
            a.well = True
            until(lambda: set(calling.fresh(20)) == {"a"}, within=30)
        assert set(calling.answers) == {"a", "b", "503"}
        errors = gateway.err.read_text()
        assert errors.count("none of its 2 servers can be used now") <= 2  # once for each relay
