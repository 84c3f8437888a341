"""A configuration for commands to work with, and a way to run one as a person does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keystile.cli.main import main

SETTINGS = """\
listeners: [{address: "127.0.0.1:0"}]
management: {address: "127.0.0.1:0"}
workers: 1
access_log: off
upstreams:
  api: {servers: ["http://127.0.0.1:9"]}
routes:
  - {path: /v4/contacts, methods: [GET, POST], scope: ViewContacts, upstream: api}
  - {path: "/v4/files/{name}", methods: [GET], scopes: {all: [ViewFiles, Export]}, upstream: api}
  - {path: /v4/reports, methods: [GET], scopes: {any: [ViewReports, Export]}, upstream: api}
  - {path: /whoami, methods: [GET], key_only: true, upstream: api}
  - {path: /health, methods: [GET], public: true, upstream: api}
  - {path: /v2/*, scope: Legacy, upstream: api}
"""
PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def gateway_file(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(SETTINGS, encoding="utf-8")
    return file


@pytest.fixture
def run(gateway_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command on the configuration, with text on its standard input."""

    def run(*words: str, stdin: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(["-c", str(gateway_file), *words])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def account(run: Run) -> str:
    """An account that owns keys."""
    email = "ann@example.com"
    said = run("accounts", "create", email, "--password-stdin", stdin=PASSWORD)
    assert said.code == 0, said.err
    return email
