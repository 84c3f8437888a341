from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keystile.process import control
from tests.cli.conftest import Run

NOTHING: dict[str, Any] = {
    "fault": None,
    "number": 3,
    "differs": False,
    "restart": [],
    "settings": [],
    "listeners": [],
    "upstreams": [],
    "routes": [],
    "files": [],
}


def end(row: str, scopes: object, upstream: str = "api", **more: object) -> dict[str, object]:
    return {"row": row, "scopes": scopes, "upstream": upstream, "cors": None, "websocket": False, **more}


def setting(path: str, was: str, now: str, *, restart: bool = False) -> dict[str, object]:
    return {"path": path, "was": was, "now": now, "restart": restart}


def route(method: str, path: str, was: object, now: object, opening: str = "") -> dict[str, object]:
    return {"method": method, "path": path, "what": "changed", "opening": opening, "was": was, "now": now}


def answering(monkeypatch: pytest.MonkeyPatch, **answer: object) -> list[Path]:
    asked: list[Path] = []

    def ask(store: Path, file: Path) -> dict[str, Any]:
        asked.append(file)
        return {**NOTHING, **answer}

    monkeypatch.setattr(control, "ask_for_difference", ask)
    return asked


def test_without_a_gateway_it_says_so_and_fails(run: Run) -> None:
    said = run("diff")
    assert (said.code, said.out) == (1, "")
    assert "no gateway answers" in said.err


def test_no_difference_is_said_and_is_no_failure(
    run: Run, gateway_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch)
    assert (run("diff").code, run("diff").out) == (0, "nothing differs from configuration 3\n")
    assert run("diff", "--json").json == NOTHING
    assert set(asked) == {gateway_file}


def test_what_is_wrong_is_said_and_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, fault="gateway.yaml:3: workers: 'many' is no number\ngateway.yaml:9: nonsense")
    said = run("diff")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[1:] == ["gateway.yaml:3: workers: 'many' is no number", "gateway.yaml:9: nonsense"]
    assert run("diff", "--json").code == 1


def test_each_difference_is_a_line_and_what_opens_is_marked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(
        monkeypatch,
        differs=True,
        restart=["workers"],
        settings=[setting("limits.request_timeout", "600s", "30s"), setting("workers", "2", "3", restart=True)],
        listeners=[
            {"name": "127.0.0.1:8443", "what": "added", "settings": []},
            {"name": "[::1]:80", "what": "changed", "settings": [setting("plain_http", "allow", "refuse_keys")]},
        ],
        upstreams=[{"name": "old", "what": "removed", "settings": []}],
        routes=[
            route("GET", "/open", end("/open", ["A"]), end("/open", None), "public"),
            route("GET", "/v2/admin", end("/v2/admin", ["A", "B"]), end("/v2/*", ["A"]), "less"),
            route("GET", "/else", end("/else", ["A"]), end("/else", {"any": ["B", "C"]}), "other"),
            route("*", "/gone/{x}", end("/gone/{y}", []), None),
            route("*", "/new", None, end("/new", ["A"])),
            route("GET", "/b", end("/b", ["A"]), end("/b", ["A"], "b", cors=["*"], websocket=True)),
        ],
        files=[
            {
                "file": "/tls/cert.pem",
                "kind": "certificate",
                "what": "changed",
                "was": {"names": ["a.example"], "ends": 0.0},
                "now": {"names": ["a.example", "b.example"], "ends": 86400.0},
            },
            {"file": "/tls/key.pem", "kind": "private key", "what": "changed", "was": None, "now": None},
        ],
    )
    said = run("diff")
    assert said.code == 0
    assert said.out.splitlines() == [
        "compared with configuration 3:",
        "limits.request_timeout: 600s → 30s",
        "workers: 2 → 3  (needs a restart)",
        "listeners.127.0.0.1:8443: added",
        "listeners.[::1]:80.plain_http: allow → refuse_keys",
        "upstreams.old: removed; requests in flight to it finish",
        "routes: GET /open: A → (public)  ! becomes public",
        "routes: GET /v2/admin: A and B → A (falls under /v2/*)  ! needs less than before",
        "routes: GET /else: A → B or C  ! lets in keys that it did not",
        "routes: * /gone/{x}: (any key) → (refused)",
        "routes: * /new: (refused) → A",
        "routes: GET /b: A, upstream api → b, cors none → [*], websocket false → true",
        "certificate /tls/cert.pem: a.example until 1970-01-01 00:00 → a.example, b.example until 1970-01-02 00:00",
        "private key /tls/key.pem: changed",
        "",
        "3 operations would let in whoever is refused now; 1 without any key",
        "",
        "A reload takes nothing of this: workers cannot change while the gateway runs.",
    ]
