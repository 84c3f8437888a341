import hashlib
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Said

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def create(run: Run, account: str, name: str, *words: str) -> Said:
    return run("keys", "create", "--account", account, "--name", name, *words)


def test_create_prints_one_object_with_the_promised_names(run: Run, account: str) -> None:
    words = ("--scope", "ViewContacts", "--scope", "Export", "--allow", "10.0.0.0/8", "--expires", "2099-12-31")
    said = create(run, account, "nightly", *words, "--json")
    assert (said.code, said.err) == (0, "")
    key = said.json
    assert list(key) == ["id", "name", "key", "hint", "scopes", "allowed_networks", "expires", "created"]
    assert re.fullmatch("[0-9A-F]{96}", key["key"])
    assert (key["name"], key["hint"], key["scopes"]) == ("nightly", key["key"][-5:], ["Export", "ViewContacts"])
    assert (key["allowed_networks"], key["expires"]) == (["10.0.0.0/8"], "2099-12-31T00:00:00Z")
    assert ISO.fullmatch(key["created"])


def test_what_is_not_given_is_empty_or_null(run: Run, account: str) -> None:
    key = create(run, account, "plain", "--json").json
    assert (key["scopes"], key["allowed_networks"], key["expires"]) == ([], [], None)


def test_people_see_the_secret_once_with_a_warning(run: Run, account: str) -> None:
    said = create(run, account, "mine", "--scope", "ViewContacts")
    secret = said.out.splitlines()[0]
    assert re.fullmatch("[0-9A-F]{96}", secret)
    assert "only time" in said.out
    for words in (("list",), ("list", "--json"), ("edit", "--account", account, "--name", "mine", "--rename", "x")):
        later = run("keys", *words)
        assert later.code == 0
        assert secret not in later.out + later.err


def test_only_create_and_change_print_a_key(run: Run, account: str) -> None:
    create(run, account, "mine")
    named = ("--account", account, "--name", "mine", "--json")
    assert "key" in run("keys", "change", *named).json
    assert "key" not in run("keys", "edit", *named, "--scope", "Export").json
    assert "key" not in run("keys", "list", "--json").json[0]
    assert "key" not in run("keys", "delete", *named).json


def test_a_scope_that_no_route_uses_is_a_warning(run: Run, account: str) -> None:
    said = create(run, account, "odd", "--scope", "ViewContactz", "--scope", "Legacy", "--json")
    assert said.code == 0
    assert said.err == "warning: no route uses the scope ViewContactz\n"
    assert said.json["scopes"] == ["Legacy", "ViewContactz"]


def test_the_list_is_of_everybody_or_of_one(run: Run, account: str) -> None:
    create(run, account, "a")
    create(run, account, "b")
    run("accounts", "create", "bob@example.com", "--password-stdin", stdin="another password")
    create(run, "bob@example.com", "a")
    names = [(key["account"], key["name"]) for key in run("keys", "list", "--json").json]
    assert names == [(account, "a"), (account, "b"), ("bob@example.com", "a")]
    assert len(run("keys", "list", "--account", account, "--json").json) == 2
    assert len(run("keys", "list", "--account", account, "--name", "b", "--json").json) == 1
    assert run("keys", "list", "--account", "nobody@example.com").code == 1


def test_the_list_is_a_table_for_people(run: Run, account: str) -> None:
    assert run("keys", "list").out == "no keys yet\n"
    create(run, account, "a", "--scope", "Export", "--allow", "::1")
    lines = run("keys", "list").out.splitlines()
    assert lines[0].startswith("ACCOUNT")
    assert re.search(r"ann@example.com +a +…[0-9A-F]{5} +Export +::1 +never +never", lines[1])


def test_edit_replaces_what_is_given_and_leaves_the_rest(run: Run, account: str) -> None:
    words = ("--scope", "ViewContacts", "--allow", "10.0.0.1", "--expires", "2099-01-01")
    before = create(run, account, "mine", *words, "--json").json
    named = ("--account", account, "--name", "mine", "--json")
    edited = run("keys", "edit", *named, "--scope", "Export").json
    assert (edited["scopes"], edited["allowed_networks"]) == (["Export"], ["10.0.0.1"])
    assert (edited["expires"], edited["hint"]) == ("2099-01-01T00:00:00Z", before["hint"])
    edited = run("keys", "edit", *named, "--expires", "never", "--no-scopes", "--allow-everywhere").json
    assert (edited["expires"], edited["scopes"], edited["allowed_networks"]) == (None, [], [])
    assert run("keys", "edit", *named, "--rename", "yours").json["name"] == "yours"
    assert run("keys", "edit", *named).code == 1


def test_change_gives_a_new_secret_and_keeps_the_facts(run: Run, account: str) -> None:
    before = create(run, account, "mine", "--scope", "Export", "--json").json
    named = ("--account", account, "--name", "mine")
    after = run("keys", "change", *named, "--json").json
    assert list(after) == list(before)
    assert after["key"] != before["key"]
    assert {**after, "key": "", "hint": ""} == {**before, "key": "", "hint": ""}
    said = run("keys", "change", *named, "--overlap", "10m")
    assert f"…{after['hint']} works until" in said.out


def test_delete_says_what_is_gone(run: Run, account: str) -> None:
    hint = create(run, account, "mine", "--json").json["hint"]
    said = run("keys", "delete", "--account", account, "--name", "mine")
    assert (said.code, said.out) == (0, f"deleted 'mine' (…{hint}) of {account}\n")
    said = run("keys", "delete", "--account", account, "--name", "mine")
    assert (said.code, said.err) == (1, f"keystile: {account} has no key named 'mine'\n")


def test_a_key_issued_elsewhere_is_imported(run: Run, account: str) -> None:
    secret = "an old key of another system"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    words = ("--account", account, "--name", "old", "--digest", digest, "--hint", secret[-5:], "--scope", "Legacy")
    key = run("keys", "import", *words, "--json").json
    assert (key["imported"], key["hint"], key["scopes"]) == (True, "ystem", ["Legacy"])
    again = run("keys", "import", "--account", account, "--name", "b", "--digest", digest, "--hint", "ystem")
    assert again.code == 1


def test_the_sixteenth_key_is_refused(run: Run, account: str) -> None:
    for number in range(15):
        assert create(run, account, f"key {number}").code == 0
    said = create(run, account, "one more")
    assert said.code == 1
    assert f"{account} has as many keys as an account may own, 15" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--allow", "10.0.0.0/33"), "10.0.0.0/33"),
        (("--expires", "2001-01-01"), "past"),
        (("--scope", "two words"), "two words"),
    ],
)
def test_a_broken_rule_is_one_line(run: Run, account: str, words: tuple[str, ...], said: str) -> None:
    refused = create(run, account, "mine", *words)
    assert refused.code == 1
    assert refused.out == ""
    assert said in refused.err
    assert refused.err.count("\n") == 1


def test_no_secret_lies_in_any_file(run: Run, account: str, gateway_file: Path) -> None:
    secret = create(run, account, "mine", "--json").json["key"]
    for file in gateway_file.parent.iterdir():
        assert secret.encode() not in file.read_bytes()
