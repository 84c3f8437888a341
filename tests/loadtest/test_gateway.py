"""That it serves for real is seen in tests/loadtest/test_ground.py and test_tester.py."""

from __future__ import annotations

import io
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from keystile.config.model import Settings
from keystile.loadtest import gateway
from keystile.process import supervisor

WRITTEN = """\
upstreams: {api: {servers: ["http://127.0.0.1:9"]}}
routes: [{path: /x, scope: A, upstream: api}]
"""


def test_it_is_told_to_stop_when_its_input_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    heard = threading.Event()

    def kill(pid: int, number: int) -> None:
        told.append((pid, number))
        heard.set()

    def serve(settings: Settings, *, announce: TextIO) -> int:
        assert [each.path for each in settings.operations] == ["/x"]
        assert heard.wait(30)
        return 7

    stdin: Any = SimpleNamespace(buffer=io.BytesIO())
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(supervisor, "serve", serve)
    file = tmp_path / "gateway.yaml"
    file.write_text(WRITTEN)

    assert gateway.main(file) == 7
    assert told == [(os.getpid(), signal.SIGTERM)]
