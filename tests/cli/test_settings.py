from pathlib import Path

import pytest

from keystile.cli.settings import read_settings
from keystile.cli.terminal import CommandFailed


def test_settings_come_from_the_chosen_file(gateway_file: Path) -> None:
    settings = read_settings(gateway_file)
    assert settings.store == gateway_file.parent / "keystile.db"
    assert [upstream.name for upstream in settings.upstreams] == ["api"]


def test_every_fault_is_told_at_once(gateway_file: Path) -> None:
    gateway_file.write_text("workerz: 1\nlistenerz: []\n")
    with pytest.raises(CommandFailed) as failed:
        read_settings(gateway_file)
    lines = str(failed.value).splitlines()
    assert lines[0] == f"the configuration has {len(lines) - 1} faults"
    assert any("workerz" in line for line in lines)
    assert any("listenerz" in line for line in lines)


def test_one_fault_is_one_line(gateway_file: Path) -> None:
    gateway_file.write_text(gateway_file.read_text().replace("workers", "workerz"))
    with pytest.raises(CommandFailed) as failed:
        read_settings(gateway_file)
    assert len(str(failed.value).splitlines()) == 1
    assert "workers" in str(failed.value)
