from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from keystile import app
from keystile.config.model import Needs, Operation
from keystile.loadtest import api
from keystile.loadtest.connection import NO_CONNECTION, Connection, request
from keystile.loadtest.ground import settings
from keystile.loadtest.plan import Target
from tests.loadtest.test_calls import GATEWAY
from tests.process.running import until

OPERATIONS = [
    Operation(("GET",), "/v4/a/{x}", Needs(all_of=frozenset({"A"}), any_of=frozenset({"B", "C"})), "x", "here", 0),
    Operation((), "/v4/b/*", Needs(), "x", "here", 1),
    Operation(("GET",), "/health", Needs(public=True), "x", "here", 2),
    Operation(("POST",), "/v4/security/apikeys", Needs(all_of=frozenset({"Admin"})), "x", "management_routes", -1),
]


def call(port: int, path: str, key: str = "", source: str = "127.1.0.5") -> str:
    connection = Connection(Target("127.0.0.1", port, "127.0.0.1"), source, 30)
    try:
        return connection.call(request("GET", path, "127.0.0.1", "X-ElasticEmail-ApiKey", key))
    finally:
        connection.close()


def test_the_grounds_settings_have_the_same_routes_and_none_that_changes_keys(tmp_path: Path) -> None:
    given = app.load_settings(GATEWAY)
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(settings(OPERATIONS, given.keys, given.limits, 9, 1)))
    read = app.load_settings(file)
    ours = [(each.methods, each.path, each.needs) for each in read.operations if not each.path.startswith(api.PREFIX)]
    assert ours == [(each.methods, each.path, each.needs) for each in OPERATIONS[:3]]
    assert {server.host for upstream in read.upstreams for server in upstream.servers} == {"127.0.0.1"}
    assert read.keys.headers == ("X-ElasticEmail-ApiKey",)


_HOLDING = """
import sys
from pathlib import Path
from keystile import app
from keystile.loadtest.ground import arranged
given = app.load_settings(Path(sys.argv[1]))
with arranged(given.operations, given.keys, given.limits, ("all",), workers=1) as ground:
    print(ground.port, flush=True)
    sys.stdin.read()
"""


def test_a_killed_run_leaves_no_gateway_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLDING, str(GATEWAY)]
    where = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=where) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert call(port, "/v4/contacts") == "api-key-required"
        process.send_signal(signal.SIGKILL)
    until(lambda: call(port, "/v4/contacts") == NO_CONNECTION, within=30)
