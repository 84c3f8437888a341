from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.audit import AuditEvent, What, differences, facts_of
from keystile.keys.key import ApiKey
from keystile.keys.networks import Networks
from keystile.management.pages.happened import WORDS, lines, told
from tests.management.pages.ground import ANN
from tests.management.pages.test_key_forms import CATALOGUE


def _key(name: str = "a", scopes: tuple[str, ...] = (), networks: str = "", expires: float | None = None) -> ApiKey:
    return ApiKey("i", "a", ANN, name, "ABCDE", frozenset(scopes), Networks.from_text(networks), expires, 0.0, False)


def test_every_kind_of_event_has_words() -> None:
    assert set(WORDS) == set(What)


def test_who_reads_is_called_you() -> None:
    for actor, who in ((ANN, "You"), ("operator (command line)", "operator (command line)")):
        event = AuditEvent(1.0, actor, "console", What.KEY_DELETED, ANN, "i", "shop", "ABCDE")
        assert told(event, ANN, CATALOGUE.describe).who == who


def test_an_edit_says_what_came_and_what_went() -> None:
    before, after = _key("a", ("ViewContacts", "SendHttp")), _key("b", ("ViewContacts", "ViewTemplates"), "10.0.0.1")
    assert lines(differences(before, after), CATALOGUE.describe) == (
        "Name: a → b",
        "Permissions: +ViewTemplates, −SendHttp",
        "Usable from: everywhere → 10.0.0.1",
    )


def test_many_permissions_are_put_in_short() -> None:
    details = differences(_key(), _key(scopes=CATALOGUE.full))
    assert lines(details, CATALOGUE.describe) == ("Permissions: No permissions → Full access",)


def test_a_new_key_is_told_with_its_facts() -> None:
    details = facts_of(_key(scopes=CATALOGUE.view_only, expires=1798675200.0))
    assert lines(details, CATALOGUE.describe) == (
        "Permissions: View only",
        "Usable from: everywhere",
        "Expires: 31 Dec 2026, 00:00 UTC",
    )


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ("…ABCDE ends at once", ("Old key •••…ABCDE: stopped at once",)),
        ("…ABCDE ends after 86400 s", ("Old key •••…ABCDE: stopped after 1 day",)),
        ("with its account", ("with its account",)),
        ("", ()),
    ],
)
def test_other_details_stay_readable(details: str, words: tuple[str, ...]) -> None:
    assert lines(details, CATALOGUE.describe) == words


@given(st.text(max_size=60))
def test_no_name_can_make_it_fail(name: str) -> None:
    assert lines(differences(_key("a"), _key(name + "!")), CATALOGUE.describe)


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_can_look_like_another_fact(old: str, new: str) -> None:
    for before, after in ((old, new), (f"{old}; expires: never → 2027-01-01T00:00:00+00:00", f'"; networks: {new}')):
        details = differences(_key(before), _key(after))
        told_lines = lines(details, CATALOGUE.describe)
        assert told_lines == ((f"Name: {before} → {after}",) if before != after else ())
