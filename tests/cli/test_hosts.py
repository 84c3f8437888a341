from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keystile import app
from keystile.cli import hosts
from keystile.config.model import Settings
from keystile.process import control
from keystile.storage.errors import unreadable
from keystile.storage.hosts import UNHEARD, differences, states_of
from tests.cli.conftest import Run
from tests.storage.test_hosts import ONE, host

OTHER = replace(ONE, id="2" * 16, name="two", settings="bbbb", health="degraded", troubles=("a: b", "c: d"))
GONE = replace(ONE, id="3" * 16, name="three")
UPSTREAM = "upstreams: {api: {servers: ['http://127.0.0.1:9000']}}\nroutes: [{path: /a, public: true, upstream: api}]\n"
Known = Callable[[Settings], Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "gateway.yaml"
    made.write_text("store: postgresql://db/keys?sslmode=require\n" + UPSTREAM, "utf-8")
    return made


async def three(settings: Settings) -> Any:
    states = states_of([host(ONE), host(OTHER), host(GONE, UNHEARD + 1)], ONE.id)
    return states, differences(states)


async def away(settings: Settings) -> Any:
    raise unreadable("postgresql://db/keys", "the database cannot be reached")


def test_people_see_each_host_and_in_what_they_differ(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "look_at_hosts", three)
    found = hosts.look(file)
    assert found is not None
    found.show()
    assert capsys.readouterr().out == (
        "\n"
        "HOST            PROGRAM        CONFIGURATION   STATE\n"
        "one (this one)  0.1.0, source  aaaa            ok\n"
        "two             0.1.0, source  bbbb (another)  degraded: a: b; c: d\n"
        "three           0.1.0, source  aaaa            not heard of since 1970-01-01T00:16:24Z\n"
        "Different configurations: aaaa on one; bbbb on two.\n"
    )


def test_a_name_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    states = states_of([host(ONE), host(replace(OTHER, name="\x1b[2Jtwo", slots="\x9b2J"))], ONE.id)
    hosts.Others(states, differences(states)).show()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out


def test_programs_see_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "look_at_hosts", three)
    found = hosts.look(file)
    assert found is not None
    here, other, gone = found.described()
    assert (here["here"], here["last_heard"], here["running_since"]) == (
        True, "1970-01-01T00:16:40Z", "1970-01-01T00:15:40Z"
    )  # fmt: skip
    assert (other["troubles"], other["health"], other["heard"]) == (["a: b", "c: d"], "degraded", True)
    assert not gone["heard"]


def test_a_database_that_is_away_is_a_line_and_the_gateways_own_answer_is_shown(
    gateway_file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway_file.write_text(f"store: postgresql://127.0.0.1/keys\n{gateway_file.read_text()}")
    monkeypatch.setattr(app, "look_at_hosts", away)
    monkeypatch.setattr(control, "ask", lambda store: {"processes": [], "version": "0.1.0"})
    said = run("status", "--json")
    assert said.code == 0
    assert said.json == {"processes": [], "version": "0.1.0"}
    assert "the hosts cannot be looked at: the store postgresql://db/keys: the database cannot be reached" in said.err


def test_a_file_with_faults_tells_of_no_hosts(file: Path) -> None:
    file.write_text("nonsense: 1\n" + file.read_text("utf-8"), "utf-8")
    assert hosts.look(file) is None
    file.write_text("store: [a]\n" + UPSTREAM, "utf-8")
    assert hosts.look(file) is None


def test_a_store_in_a_file_tells_of_no_hosts_and_nothing_else_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(UPSTREAM, "utf-8")
    monkeypatch.delattr(hosts, "read_settings")
    assert hosts.look(file) is None
