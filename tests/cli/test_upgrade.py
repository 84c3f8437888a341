from __future__ import annotations

import pytest

from keystile.process import control
from tests.cli.conftest import Run

DONE: dict[str, object] = {
    "fault": None,
    "changed": True,
    "from": "1.0",
    "to": "1.1",
    "old": [{"role": "relay", "pid": 10}],
    "new": [{"role": "relay", "pid": 20}, {"role": "management", "pid": 21}],
}


def answering(monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]) -> None:
    monkeypatch.setattr(control, "ask_to_upgrade", lambda store: answer)


def test_without_a_gateway_it_says_so_and_fails(run: Run) -> None:
    said = run("upgrade")
    assert (said.code, said.out) == (1, "")
    assert "no gateway answers" in said.err


def test_what_has_become_of_the_processes_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, DONE)
    said = run("upgrade")
    assert said.code == 0
    assert said.out == (
        "upgraded from 1.0 to 1.1\n"
        "new: relay 20, management 21; they serve\n"
        "old: relay 10; they finish their requests and end\n"
    )
    assert run("upgrade", "--json").json == DONE


def test_why_there_was_none_is_said_and_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"fault": "the new code does not start: boom", "changed": False})
    said = run("upgrade")
    assert (said.code, said.out) == (1, "")
    assert "no upgrade, the gateway goes on as it was: the new code does not start: boom" in said.err
    assert run("upgrade", "--json").code == 1


def test_an_upgrade_of_all_but_the_supervisor_is_told_and_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {**DONE, "fault": "the supervisor could not be replaced"})
    said = run("upgrade")
    assert said.code == 1
    assert said.out.startswith("upgraded from 1.0 to 1.1\n")
    assert "goes on as it was" not in said.err
    assert "the supervisor could not be replaced" in said.err
