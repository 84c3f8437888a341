from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_programs_and_people_are_told_what_was_copied(run: Run, account: str, tmp_path: Path) -> None:
    run("keys", "create", "--account", account, "--name", "one")
    said = run("backup", str(tmp_path / "copy.db"), "--json")
    assert said.json == {
        "store": str(tmp_path / "copy.db"),
        "passwords": str(tmp_path / "copy-passwords.db"),
        "accounts": 1,
        "keys": 1,
        "bytes": sum((tmp_path / name).stat().st_size for name in ("copy.db", "copy-passwords.db")),
    }
    again = run("backup", str(tmp_path / "copy.db"))
    assert (again.code, again.out) == (1, "")
    assert again.err == f"keystile: {tmp_path / 'copy.db'} is there already; name another, or say --force\n"
    assert run("backup", str(tmp_path / "copy.db"), "--force").out == (
        f"copied 1 accounts and 1 keys to {tmp_path / 'copy.db'} and {tmp_path / 'copy-passwords.db'}\n"
    )


def test_without_a_store_it_says_so_and_makes_none(run: Run, tmp_path: Path) -> None:
    said = run("backup", str(tmp_path / "copy.db"))
    assert (said.code, said.out) == (1, "")
    assert "keystile.db: No such file or directory" in said.err
    assert [file.name for file in tmp_path.iterdir()] == ["gateway.yaml"]
