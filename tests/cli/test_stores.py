from __future__ import annotations

from pathlib import Path

import pytest

from keystile.cli.main import main
from keystile.config.database import shown
from tests.cli.conftest import Run
from tests.storage.engines import postgres
from tests.storage.postgres_server import Server

__all__ = ["postgres"]


def test_a_store_is_copied_to_a_database_and_back(run: Run, account: str, tmp_path: Path, postgres: Server) -> None:
    run("keys", "create", "--account", account, "--name", "one")
    url = shown(dict(postgres.database().options))
    there = run("store", "copy", f"sqlite:///{tmp_path}/keystile.db", url, "--json")
    assert there.code == 0
    assert there.json["keys"]["rows"] == 1
    back = run("store", "copy", url, f"sqlite:///{tmp_path}/back.db")
    assert back.out.endswith("copied 1 accounts and 1 keys; both stores hold the same\n")
    assert there.json["keys"]["digest"] in back.out
    again = run("store", "copy", url, f"sqlite:///{tmp_path}/back.db")
    assert (again.code, again.out) == (1, "")
    assert "holds something already" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keystile.db", "sqlite:///b.db"), "is not a store"),
        (("sqlite:///a.db", "postgresql://ann:pa55@db/keys"), "holds a password"),
        (("sqlite:///a.db", "sqlite:///b.db", "--from-password-file", "x"), "is a file, which has no password"),
    ],
)
def test_what_is_no_store_is_told_without_a_password(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "copy", *arguments]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "pa55" not in told
