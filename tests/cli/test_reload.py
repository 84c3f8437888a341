from __future__ import annotations

import pytest

from keystile.process import control
from tests.cli.conftest import Run


def answering(monkeypatch: pytest.MonkeyPatch, **answer: object) -> None:
    monkeypatch.setattr(control, "ask_to_reload", lambda store: answer)


def test_without_a_gateway_it_says_so_and_fails(run: Run) -> None:
    said = run("reload")
    assert (said.code, said.out) == (1, "")
    assert "no gateway answers" in said.err


@pytest.mark.parametrize(
    ("changed", "said"), [(True, "configuration 4 is in force\n"), (False, "nothing has changed since 4\n")]
)
def test_what_came_of_it_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, changed: bool, said: str) -> None:
    answering(monkeypatch, fault=None, number=4, changed=changed)
    assert (run("reload").code, run("reload").out) == (0, said)
    assert run("reload", "--json").json == {"fault": None, "number": 4, "changed": changed}


def test_what_is_wrong_is_said_and_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, fault="the port is in use", number=4, changed=False)
    said = run("reload")
    assert (said.code, said.out) == (1, "")
    assert "the gateway goes on as it was: the port is in use" in said.err
    assert run("reload", "--json").code == 1
