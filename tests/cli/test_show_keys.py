import json

import pytest

from keystile.cli import show_keys
from keystile.keys.answers import Created
from keystile.keys.key import ApiKey
from keystile.keys.networks import Networks

SECRET = "0123456789ABCDEF" * 6
KEY = ApiKey(
    id="k1",
    account_id="a1",
    account_email="ann@example.com",
    name="nightly",
    hint="BCDEF",
    scopes=frozenset({"ViewContacts", "Export"}),
    networks=Networks.parse(["10.0.0.0/8", "192.0.2.1-192.0.2.9"]),
    expires=1798675200.0,
    created=1764000000.0,
    imported=False,
)


def test_json_of_a_created_key_has_the_promised_names_in_order() -> None:
    assert show_keys.created_as_json(Created(KEY, SECRET)) == {
        "id": "k1",
        "name": "nightly",
        "key": SECRET,
        "hint": "BCDEF",
        "scopes": ["Export", "ViewContacts"],
        "allowed_networks": ["10.0.0.0/8", "192.0.2.1-192.0.2.9"],
        "expires": "2026-12-31T00:00:00Z",
        "created": "2025-11-24T16:00:00Z",
    }
    assert list(show_keys.created_as_json(Created(KEY, SECRET)))[:4] == ["id", "name", "key", "hint"]


def test_json_of_a_listed_key_has_no_secret() -> None:
    listed = show_keys.listed_as_json(KEY)
    assert "key" not in listed
    assert listed["account"] == "ann@example.com"
    assert (listed["last_used"], listed["last_used_from"]) == (None, None)


def test_warnings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_keys.show_created(Created(KEY, SECRET, ("no route uses the scope Export",)), as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["key"] == SECRET
    assert err == "warning: no route uses the scope Export\n"


def test_a_created_key_is_shown_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    show_keys.show_created(Created(KEY, SECRET), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        SECRET,
        "",
        "  account        ann@example.com",
        "  name           nightly",
        "  scopes         Export, ViewContacts",
        "  allowed from   10.0.0.0/8, 192.0.2.1-192.0.2.9",
        "  expires (UTC)  2026-12-31 00:00",
        "",
        "This is the only time that the key is shown. Keep it like a password.",
    ]
