from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from keystile.storage.passwords import passwords_of
from keystile.storage.setup_link import setup_file_of
from tests.cli.conftest import PASSWORD, Run

LINK = re.compile(r"http://127\.0\.0\.1:0/link\?token=[0-9a-f]{64}")


@pytest.fixture
def store(gateway_file: Path) -> Path:
    return gateway_file.parent / "keystile.db"


def links(store: Path) -> list[str]:
    """Whose links there are."""
    with closing(sqlite3.connect(passwords_of(store))) as file:
        return [row[0] for row in file.execute("SELECT account_id FROM links")]


def test_a_link_is_all_that_standard_output_gets(run: Run, account: str, store: Path) -> None:
    said = run("accounts", "link", account)
    assert said.code == 0
    assert LINK.fullmatch(said.out.strip())
    assert "for an hour" in said.err
    assert len(links(store)) == 1
    assert said.out.strip().partition("=")[2].encode() not in passwords_of(store).read_bytes()


def test_a_link_is_json_for_programs(run: Run, account: str) -> None:
    said = run("accounts", "link", account, "--json")
    assert LINK.fullmatch(said.json["link"])
    assert said.err == ""


@pytest.mark.parametrize("url", ["https://keys.example.com", "https://keys.example.com/"])
def test_people_are_sent_where_they_reach_the_page(run: Run, account: str, url: str) -> None:
    assert run("accounts", "link", account, "--url", url).out.startswith("https://keys.example.com/link?token=")
    said = run("accounts", "link", account, "--url", "keys.example.com")
    assert (said.code, said.out) == (1, "")
    assert "with its scheme" in said.err


def test_a_link_for_nobody_is_refused(run: Run) -> None:
    said = run("accounts", "link", "nobody@example.com")
    assert (said.code, said.out) == (1, "")
    assert "no account" in said.err


def test_a_new_password_by_command_ends_a_link(run: Run, account: str, store: Path) -> None:
    run("accounts", "link", account)
    run("accounts", "password", account, "--password-stdin", stdin="another password")
    assert links(store) == []


def test_a_deleted_account_takes_its_link_along(run: Run, account: str, store: Path) -> None:
    run("accounts", "link", account)
    run("accounts", "delete", account)
    assert links(store) == []


def test_without_a_terminal_the_setup_link_is_in_a_file(run: Run, store: Path) -> None:
    said = run("accounts", "setup-link")
    assert said.code == 0
    assert str(setup_file_of(store)) in said.out
    assert "token" not in said.out + said.err
    assert LINK.fullmatch(setup_file_of(store).read_text("utf-8").strip())
    assert setup_file_of(store).stat().st_mode & 0o777 == 0o600


def test_a_terminal_shows_the_setup_link(run: Run, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    said = run("accounts", "setup-link")
    assert len(LINK.findall(said.out)) == 1
    assert not setup_file_of(store).exists()


def test_where_there_is_an_operator_there_is_no_setup_link(run: Run, store: Path) -> None:
    run("accounts", "setup-link")
    run("accounts", "create", "op@example.com", "--operator", "--password-stdin", stdin=PASSWORD)
    said = run("accounts", "setup-link")
    assert (said.code, said.out) == (1, "")
    assert "keystile accounts link EMAIL" in said.err
    assert not setup_file_of(store).exists()
    assert links(store) == []
