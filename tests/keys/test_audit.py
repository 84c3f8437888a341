from __future__ import annotations

from dataclasses import replace

from keystile.keys.audit import AuditEvent, By, What, differences, facts_of
from keystile.keys.key import ApiKey
from keystile.keys.networks import EVERYWHERE, Networks

KEY = ApiKey("k", "a", "ann@x.org", "main", "12345", frozenset({"B", "A"}), EVERYWHERE, None, 0.0, False)


def test_a_new_key_is_told_by_its_facts() -> None:
    assert facts_of(KEY) == "scopes: A B; networks: everywhere; expires: never"


def test_an_edit_is_told_by_what_differs() -> None:
    after = replace(KEY, name="other", scopes=frozenset(), networks=Networks.parse(["10.0.0.1"]), expires=86400.0)
    assert differences(KEY, after) == (
        'name: "main" → "other"; scopes: A B → none; networks: everywhere → 10.0.0.1; '
        "expires: never → 1970-01-02T00:00:00+00:00"
    )
    assert differences(KEY, replace(KEY, version=9)) == ""


def test_who_asks_makes_the_event_of_a_credential_or_of_an_account() -> None:
    by = By("me", "here")
    event = by.event(5.0, What.KEY_DELETED, "ann@x.org", KEY, "gone")
    assert event == AuditEvent(5.0, "me", "here", What.KEY_DELETED, "ann@x.org", "k", "main", "12345", "gone")
    assert by.event(5.0, What.ACCOUNT_DELETED, "ann@x.org").key_id is None
