from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.commands import LONGEST, run_command
from tests.process.running import until


def test_a_command_has_its_words_folder_input_and_environment_and_says_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = "routes: [{path: /, public: true, upstream: a}]"
    (tmp_path / "gateway.yaml").write_text(f"upstreams: {{a: {{servers: ['http://127.0.0.1:9']}}}}\n{route}\n")
    create = ["accounts", "create", "ann@example.com", "--password-stdin"]
    assert run_command(create, "a good password\n", tmp_path, 30)[0] == 0
    assert (tmp_path / "keystile.db").exists()
    code, out, err = run_command(create, "a good password\n", tmp_path, 30)
    assert (code, out) == (1, "")
    assert "ann@example.com" in err
    monkeypatch.setenv("COLUMNS", "40")
    narrow = run_command(["--help"], "", tmp_path, 30)
    monkeypatch.setenv("COLUMNS", "200")
    assert (narrow[0], narrow[2]) == (0, "")
    assert narrow != run_command(["--help"], "", tmp_path, 30)
    assert run_command(["nonsense"], "", tmp_path, 30)[0] == 2


@pytest.mark.parametrize("timeout", [0.0, 0.5])
def test_a_command_that_does_not_end_in_time_is_told_and_ends_and_keeps_no_lock(tmp_path: Path, timeout: float) -> None:
    (tmp_path / "log").touch()
    with pytest.raises(TimeoutError, match="keystile logs -f log"):
        run_command(["logs", "-f", "log"], "", tmp_path, timeout)
    until(lambda: not at_work_in(tmp_path))


def test_a_command_that_is_too_long_to_be_sent_whole_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most"):
        run_command(["check", "x" * LONGEST], "", tmp_path, 1)


def at_work_in(folder: Path) -> list[str]:
    """The processes whose working directory it is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(process / "cwd") == str(folder):
                found.append(process.name)
    return found
