import getpass
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keystile.cli import accounts
from keystile.cli.terminal import CommandFailed
from tests.cli.conftest import PASSWORD, Run


def test_an_account_can_be_made_before_the_first_start(run: Run, gateway_file: Path) -> None:
    said = run("accounts", "create", "ann@example.com", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (said.code, said.out, said.err) == (0, "created account ann@example.com\n", "")
    assert (gateway_file.parent / "keystile.db").stat().st_mode & 0o777 == 0o600


def test_an_account_is_json_for_programs(run: Run) -> None:
    said = run("accounts", "create", "Ann@Example.com", "--operator", "--password-stdin", "--json", stdin=PASSWORD)
    assert list(said.json) == ["id", "email", "operator", "created"]
    assert said.json["operator"] is True
    assert run("accounts", "list", "--json").json == [said.json]


def test_the_same_account_twice_is_refused(run: Run, account: str) -> None:
    said = run("accounts", "create", account, "--password-stdin", stdin=PASSWORD)
    assert said.code == 1
    assert said.err == f"keystile: there is already an account {account}\n"


def test_without_a_terminal_the_error_says_what_to_do(run: Run) -> None:
    said = run("accounts", "create", "ann@example.com")
    assert said.code == 1
    assert "--password-stdin" in said.err
    assert run("accounts", "list", "--json").json == []


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_that_is_no_good_makes_no_account(run: Run, password: str) -> None:
    said = run("accounts", "create", "ann@example.com", "--password-stdin", stdin=password)
    assert said.code == 1
    assert "8 to 1024" in said.err
    assert run("accounts", "list").out == "no accounts yet\n"


def test_a_new_password_takes_the_place_of_the_old(run: Run, account: str) -> None:
    assert run("accounts", "password", account, "--password-stdin", stdin="another password").code == 0
    said = run("accounts", "password", "nobody@example.com", "--password-stdin", stdin="another password")
    assert (said.code, said.err) == (1, "keystile: there is no account nobody@example.com\n")


def test_a_deleted_account_takes_its_keys_along(run: Run, account: str) -> None:
    assert run("keys", "create", "--account", account, "--name", "a").code == 0
    said = run("accounts", "delete", account)
    assert (said.code, said.out) == (0, f"deleted {account} and its keys\n")
    assert run("accounts", "list").out == "no accounts yet\n"
    assert run("keys", "list", "--json").json == []


def test_a_password_lies_in_no_file_in_clear(run: Run, account: str, gateway_file: Path) -> None:
    run("accounts", "password", account, "--password-stdin", stdin="a rather long password")
    for file in gateway_file.parent.iterdir():
        assert b"a rather long password" not in file.read_bytes()
        assert PASSWORD.encode() not in file.read_bytes()


def test_the_list_is_a_table(run: Run, account: str) -> None:
    lines = run("accounts", "list").out.splitlines()
    assert lines[0].split() == ["ACCOUNT", "ROLE", "CREATED", "(UTC)"]
    assert lines[1].startswith(account)


def test_who_did_it_is_in_the_audit_table(
    run: Run, account: str, gateway_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "zoe")
    run("accounts", "delete", account)
    with sqlite3.connect(gateway_file.parent / "keystile.db") as store:
        dump = "\n".join(store.iterdump())
    store.close()
    assert "zoe (command line)" in dump


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    given = iter(answers)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda _: next(given))


def test_at_a_terminal_a_password_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, PASSWORD, PASSWORD)
    assert accounts.read_password(False) == PASSWORD


def test_two_passwords_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, PASSWORD, "something else")
    with pytest.raises(CommandFailed, match="not the same"):
        accounts.read_password(False)


def test_a_terminal_that_closes_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", closed)
    with pytest.raises(CommandFailed, match="no password"):
        accounts.read_password(False)


def test_bytes_that_are_no_text_are_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe password\n"), encoding="utf-8"))
    with pytest.raises(CommandFailed, match="not valid text"):
        accounts.read_password(True)


def test_while_the_passwords_are_locked_no_account_is_half_made_or_half_deleted(
    run: Run, account: str, gateway_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.storage.connection.BUSY_TIMEOUT", 0.05)
    file = gateway_file.with_name("keystile-passwords.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        said = run("accounts", "create", "bob@example.com", "--password-stdin", stdin=PASSWORD)
        assert (said.code, said.out) == (1, "")
        assert said.err == f"keystile: the store {file}: another program has kept it locked for too long\n"
        assert [each["email"] for each in run("accounts", "list", "--json").json] == [account]
        gone = run("accounts", "delete", account)
        assert gone.code == 0
        assert "its password stays where it is, and opens nothing any more" in gone.err
    assert run("accounts", "list", "--json").json == []
