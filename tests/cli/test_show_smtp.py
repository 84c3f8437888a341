import json
from dataclasses import replace

import pytest

from keystile.cli import show_smtp
from keystile.keys.networks import Networks
from keystile.keys.smtp import SmtpCreated, SmtpCredential

SECRET = "0123456789ABCDEF" * 6
MAIL = SmtpCredential(
    id="c1",
    account_id="a1",
    account_email="ann@example.com",
    name="mailer@example.com",
    hint="BCDEF",
    networks=Networks.parse(["10.0.0.0/8", "192.0.2.1-192.0.2.9"]),
    expires=1798675200.0,
    created=1764000000.0,
)


def test_json_of_a_created_one_has_the_promised_names_in_order() -> None:
    assert json.dumps(show_smtp.created_as_json(SmtpCreated(MAIL, SECRET))) == json.dumps(
        {
            "id": "c1",
            "name": "mailer@example.com",
            "secret": SECRET,
            "hint": "BCDEF",
            "scope": "SendSmtp",
            "allowed_networks": ["10.0.0.0/8", "192.0.2.1-192.0.2.9"],
            "expires": "2026-12-31T00:00:00Z",
            "created": "2025-11-24T16:00:00Z",
        }
    )


def test_json_of_a_listed_one_has_no_secret() -> None:
    listed = show_smtp.listed_as_json(MAIL)
    assert "secret" not in listed
    assert listed["account"] == "ann@example.com"
    assert (listed["last_used"], listed["last_used_from"]) == (None, None)


def test_a_created_one_is_shown_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    show_smtp.show_created(SmtpCreated(MAIL, SECRET), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        SECRET,
        "",
        "  account        ann@example.com",
        "  name           mailer@example.com",
        "  allowed from   10.0.0.0/8, 192.0.2.1-192.0.2.9",
        "  expires (UTC)  2026-12-31 00:00",
        "",
        "This is the only time that the secret is shown. Keep it like a password.",
    ]


def test_the_list_is_a_table_that_tells_the_last_use(capsys: pytest.CaptureFixture[str]) -> None:
    used = replace(MAIL, last_used_at=1764000000.0, last_used_from="192.0.2.1", expires=None, networks=Networks())
    show_smtp.show_credentials([MAIL, used, replace(used, last_used_from=None)])
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2026-12-31 00:00  never")
    assert lines[1].endswith("2025-11-24 16:00 from 192.0.2.1")
    assert " everywhere " in lines[2]
    assert lines[2].endswith("2025-11-24 16:00")
