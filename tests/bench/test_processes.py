from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from bench.processes import Running, free_port

ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    seen = 0
    def do_GET(self):
        Handler.seen += 1
        self.send_response(503 if Handler.seen < 3 else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CORE = min(os.sched_getaffinity(0))


def test_a_start_lasts_until_the_first_right_answer(tmp_path: Path) -> None:
    port = free_port()
    with Running([sys.executable, "-c", ANSWERS, str(port)], CORE, tmp_path, "it") as running:
        start = running.wait_for_answer(port, status=401)
        assert start > 0
        # By its own word there were two wrong ones before.
        assert (tmp_path / "it.err").read_text().count('" 503 ') == 2


def test_who_ends_before_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (
        Running([sys.executable, "-c", "raise SystemExit('no licence')"], CORE, tmp_path, "it") as running,
        pytest.raises(RuntimeError, match="it ended with 1: no licence"),
    ):
        running.wait_for_answer(free_port())
