from __future__ import annotations

import os

import pytest

from keystile.process import resume
from keystile.process.handover import NotUnderstood, State
from tests.process.test_handover import a_state


def test_the_supervisor_goes_on_with_the_state_and_its_exit_code_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[State] = []

    def go_on(state: State) -> int:
        taken.append(state)
        return 7

    monkeypatch.setattr(resume, "resume", go_on)
    fd = a_state().seal()
    monkeypatch.setattr("sys.argv", ["resume", str(fd)])
    assert resume.main() == 7
    assert taken == [a_state()]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_state_that_is_not_understood_is_not_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    fd = a_state(layouts={}).seal()
    monkeypatch.setattr("sys.argv", ["resume", str(fd)])
    with pytest.raises(NotUnderstood):
        resume.main()
    os.close(fd)
