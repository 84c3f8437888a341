from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WRITTEN = """\
listeners: [{address: "127.0.0.1:0"}]
management: {address: "127.0.0.1:0"}
workers: 1
access_log: off
upstreams: {api: {servers: ["http://127.0.0.1:9"]}}
routes: [{path: /x, scope: A, upstream: api}]
"""


def test_it_serves_until_its_input_ends_and_ends_well(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(WRITTEN)
    command = [sys.executable, "-m", "keystile.loadtest.gateway", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [process.stdout.readline(), process.stdout.readline()]
        process.communicate(timeout=60)
    assert said[0].startswith(b"listening on 127.0.0.1:")
    assert said[1].startswith(b"management on 127.0.0.1:")
    assert process.returncode == 0
