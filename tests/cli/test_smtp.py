import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Said
from tests.cli.test_keys import ISO
from tests.cli.test_keys import create as create_key

MAIL = "mailer@example.com"


def create(run: Run, account: str, name: str, *words: str) -> Said:
    return run("smtp", "create", "--account", account, "--name", name, *words)


def verify(run: Run, secret: str, *words: str, name: str = MAIL) -> Said:
    return run("smtp", "verify", "--name", name, *words, stdin=secret)


def test_create_prints_one_object_with_the_promised_names(run: Run, account: str) -> None:
    said = create(run, account, MAIL, "--allow", "10.0.0.0/8", "--expires", "2099-12-31", "--json")
    assert (said.code, said.err) == (0, "")
    made = said.json
    assert list(made) == ["id", "name", "secret", "hint", "scope", "allowed_networks", "expires", "created"]
    assert re.fullmatch("[0-9A-F]{96}", made["secret"])
    assert (made["name"], made["hint"], made["scope"]) == (MAIL, made["secret"][-5:], "SendSmtp")
    assert (made["allowed_networks"], made["expires"]) == (["10.0.0.0/8"], "2099-12-31T00:00:00Z")
    assert ISO.fullmatch(made["created"])


def test_only_create_and_change_print_a_secret(run: Run, account: str) -> None:
    said = create(run, account, MAIL)
    secret = said.out.splitlines()[0]
    assert re.fullmatch("[0-9A-F]{96}", secret)
    assert "only time" in said.out
    named = ("--account", account, "--name", MAIL)
    for words in (("list",), ("list", "--json"), ("edit", *named, "--allow", "::1"), ("delete", *named, "--json")):
        later = run("smtp", *words)
        assert later.code == 0
        assert not re.search("[0-9A-F]{96}", later.out + later.err)


def test_verify_reads_the_secret_and_answers_by_its_exit_code(run: Run, account: str) -> None:
    secret = create(run, account, MAIL, "--allow", "10.0.0.0/8", "--json").json["secret"]
    said = verify(run, secret + "\n", "--address", "10.1.2.3")
    assert (said.code, said.out) == (0, f"verified {MAIL!r} (…{secret[-5:]}) of {account}\n")
    assert verify(run, secret, "--address", "::ffff:10.1.2.3", "--json").json["name"] == MAIL
    assert run("smtp", "list", "--json").json[0]["last_used_from"] == "10.1.2.3"
    refusals = [
        verify(run, secret, "--address", "192.0.2.1"),
        verify(run, secret),
        verify(run, secret[:-1] + "!", "--address", "10.1.2.3"),
        verify(run, "", "--address", "10.1.2.3"),
        verify(run, f"\n{secret}", "--address", "10.1.2.3"),
        verify(run, secret, "--address", "10.1.2.3", name="other@example.com"),
    ]
    assert {(each.code, each.out) for each in refusals} == {(1, "")}
    assert len({each.err for each in refusals}) == 1
    assert secret not in refusals[0].err


def test_a_key_is_no_smtp_credential(run: Run, account: str) -> None:
    key = create_key(run, account, MAIL, "--scope", "SendSmtp", "--json").json["key"]
    assert verify(run, key).code == 1


def test_change_ends_the_old_secret_and_delete_the_new_one(run: Run, account: str) -> None:
    old = create(run, account, MAIL, "--allow", "10.0.0.1", "--json").json
    new = run("smtp", "change", "--account", account, "--name", MAIL, "--json").json
    assert {**new, "secret": "", "hint": ""} == {**old, "secret": "", "hint": ""}
    assert verify(run, old["secret"], "--address", "10.0.0.1").code == 1
    assert verify(run, new["secret"], "--address", "10.0.0.1").code == 0
    said = run("smtp", "delete", "--account", account, "--name", MAIL)
    assert said.out == f"deleted {MAIL!r} (…{new['hint']}) of {account}\n"
    assert verify(run, new["secret"], "--address", "10.0.0.1").code == 1
    said = run("smtp", "delete", "--account", account, "--name", MAIL)
    assert (said.code, said.err) == (1, f"keystile: {account} has no SMTP credential named {MAIL}\n")


def test_edit_replaces_what_is_given_and_leaves_the_rest(run: Run, account: str) -> None:
    create(run, account, MAIL, "--allow", "10.0.0.1", "--expires", "2099-01-01")
    named = ("--account", account, "--name", MAIL, "--json")
    edited = run("smtp", "edit", *named, "--allow", "10.0.0.2", "--allow", "::1").json
    assert (edited["allowed_networks"], edited["expires"]) == (["10.0.0.2", "::1"], "2099-01-01T00:00:00Z")
    edited = run("smtp", "edit", *named, "--allow-everywhere", "--expires", "never").json
    assert (edited["allowed_networks"], edited["expires"]) == ([], None)
    assert run("smtp", "edit", *named, "--rename", "Other@example.com").json["name"] == "other@example.com"
    assert run("smtp", "edit", *named).code == 1


def test_the_list_is_of_everybody_or_of_one(run: Run, account: str) -> None:
    assert run("smtp", "list").out == "no SMTP credentials yet\n"
    run("accounts", "create", "bob@example.com", "--password-stdin", stdin="another password")
    for owner, name in ((account, "b@example.com"), (account, "a@example.com"), ("bob@example.com", MAIL)):
        create(run, owner, name)
    names = [(each["account"], each["name"]) for each in run("smtp", "list", "--json").json]
    assert names == [(account, "a@example.com"), (account, "b@example.com"), ("bob@example.com", MAIL)]
    assert len(run("smtp", "list", "--account", account, "--json").json) == 2
    assert run("smtp", "list", "--account", "nobody@example.com").code == 1


def test_the_sixteenth_is_refused_and_keys_do_not_count(run: Run, account: str) -> None:
    create_key(run, account, "a key")
    for number in range(15):
        assert create(run, account, f"m{number}@example.com").code == 0
    said = create(run, account, MAIL)
    assert said.code == 1
    assert f"{account} has as many SMTP credentials as an account may own, 15" in said.err


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("mailer", (), "not an e-mail address"),
        (MAIL, ("--allow", "10.0.0.0/33"), "10.0.0.0/33"),
        (MAIL, ("--expires", "2001-01-01"), "past"),
    ],
)
def test_a_broken_rule_is_one_line(run: Run, account: str, name: str, words: tuple[str, ...], said: str) -> None:
    refused = create(run, account, name, *words)
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert said in refused.err


def test_no_secret_lies_in_any_file(run: Run, account: str, gateway_file: Path) -> None:
    secret = create(run, account, MAIL, "--json").json["secret"]
    verify(run, secret)
    for file in gateway_file.parent.iterdir():
        assert secret.encode() not in file.read_bytes()
