from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.commands import run_command


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


def test_a_command_that_does_not_end_in_time_is_told(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="keystile check"):
        run_command(["check"], "", tmp_path, 0.0)
