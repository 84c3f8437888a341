from pathlib import Path

import pytest

from keystile.process import supervisor
from tests.cli.conftest import Run


def test_a_broken_configuration_starts_nothing(run: Run, gateway_file: Path) -> None:
    gateway_file.write_text("workerz: 1\n")
    said = run("serve")
    assert said.code == 1
    assert "workerz" in said.err


def test_the_exit_code_is_the_supervisors(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "serve", lambda settings, announce: 7)
    assert run("serve").code == 7
