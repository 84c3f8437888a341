from __future__ import annotations

import pytest

from keystile.keys import secret as secrets
from keystile.loadtest.calls import Call
from keystile.loadtest.credentials import BadKeys, Credential, made, read, strangers

SECRET = secrets.generate()
CALL = Call("GET", "/a", "/a", every=("A",))
OPEN = Call("GET", "/h", "/h", public=True)


@pytest.mark.parametrize(
    ("key", "right"),
    [
        (made("all", SECRET, ["A", "B"]), "answered"),
        (made("reader", SECRET, ["B"]), "scope-missing"),
        (made("elsewhere", SECRET, ["A"]), "address-not-allowed"),
        (made("unknown", SECRET, []), "invalid-api-key"),
        (made("none", "", []), "api-key-required"),
        (Credential("given", SECRET), "answered"),
    ],
)
def test_each_key_has_one_right_answer_and_a_public_call_another(key: Credential, right: str) -> None:
    assert key.right(CALL) == right
    assert key.right(OPEN) == "answered"


def test_a_file_has_a_key_a_line_and_what_it_holds() -> None:
    first, second = read(f"# ours\n{SECRET} ViewContacts,ViewFiles  # a remark\n\n{SECRET}\n", "keys.txt")
    assert (first.secret, first.scopes) == (SECRET, ("ViewContacts", "ViewFiles"))
    assert (second.secret, second.scopes, second.hint) == (SECRET, None, SECRET[-5:])
    assert [first.name, second.name] == ["given, line 2", "given, line 4"]


@pytest.mark.parametrize(
    "text",
    ["", "# nothing", "short", f"{SECRET} A B", f"{SECRET}\x7f", "ключ" * 10],
    ids=["nothing", "a remark", "short", "three words", "a control character", "no hexadecimal"],
)
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(BadKeys) as refused:
        read(text, "keys.txt")
    assert SECRET not in str(refused.value)
    assert "keys.txt" in str(refused.value)


def test_a_secret_is_in_no_text_of_a_key() -> None:
    assert SECRET not in repr(made("all", SECRET, ["A"]))


def test_strangers_are_a_key_that_nobody_has_and_no_key() -> None:
    unknown, none = strangers(["all", "unknown", "none"])
    assert secrets.has_check_digits(unknown.secret.encode())
    assert (none.secret, none.hint) == ("", "")
    assert strangers(["all", "reader"]) == ()
