from __future__ import annotations

from dataclasses import replace

import pytest

from keystile.keys.key import ApiKey, SmtpCredential
from keystile.keys.networks import Networks
from keystile.keys.secret import generate
from keystile.management.api import credentials
from keystile.management.api.credentials import Key, NewKey, NewSmtp, NewToken, RepeatedKey, Smtp, Token
from keystile.storage.access import ManagementToken

KEY = ApiKey(
    id="00ff",
    account_id="11",
    account_email="ann@example.com",
    name="main",
    hint="ABCDE",
    scopes=frozenset({"b", "a"}),
    networks=Networks.parse(["10.0.0.0/8"]),
    expires=100.0,
    created=0.0,
    imported=False,
    last_used_at=50.0,
    last_used_from="10.0.0.1",
)
SMTP = SmtpCredential("00ff", "11", "ann@example.com", "m@example.com", "ABCDE", Networks(), None, 0.0)
TOKEN = ManagementToken("00ff", "11", "deploy", "abcde", 0.0, 100.0)


def test_a_key_is_told_with_all_that_the_page_shows() -> None:
    assert Key.of(KEY, 99.0).model_dump() == {
        "id": "00ff",
        "account": "ann@example.com",
        "name": "main",
        "hint": "ABCDE",
        "allowed_networks": ["10.0.0.0/8"],
        "expires": "1970-01-01T00:01:40Z",
        "created": "1970-01-01T00:00:00Z",
        "state": "active",
        "version": 1,
        "last_used": "1970-01-01T00:00:50Z",
        "last_used_from": "10.0.0.1",
        "scopes": ["a", "b"],
        "imported": False,
        "old_hint": None,
        "old_until": None,
        "old_last_used": None,
        "old_last_used_from": None,
    }


@pytest.mark.parametrize(("now", "state"), [(99.9, "active"), (100.0, "expired"), (101.0, "expired")])
def test_what_has_ended_is_called_expired(now: float, state: str) -> None:
    assert Key.of(KEY, now).state == state
    assert Token.of(TOKEN, now).state == state
    assert Smtp.of(replace(SMTP, expires=100.0), now).state == state
    assert Smtp.of(SMTP, now).state == "active"


def test_a_repetition_has_null_where_the_secret_was_and_says_why() -> None:
    again = RepeatedKey.model_validate(credentials.key_members(KEY, 0.0)).model_dump()
    assert again["key"] is None
    assert "change it" in again["note"]
    made = NewKey.model_validate({**credentials.key_members(KEY, 0.0), "warnings": [], "key": "x"})
    assert set(again) == {*made.model_dump(), "note"}


def test_no_secret_stands_in_a_repr() -> None:
    secret = generate()
    shown = (
        NewKey.model_validate({**credentials.key_members(KEY, 0.0), "warnings": [], "key": secret}),
        NewSmtp.model_validate({**credentials.smtp_members(SMTP, 0.0), "secret": secret}),
        NewToken.model_validate({**credentials.token_members(TOKEN, 0.0), "token": secret}),
    )
    for each in shown:
        assert secret not in repr(each)
        assert secret in each.model_dump_json()
