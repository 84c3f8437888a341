from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from keystile.keys.errors import KeyRuleBroken
from keystile.management.catalogue import Catalogue
from keystile.management.pages.key_forms import (
    FIELD_OF,
    Typed,
    Wanted,
    day_of,
    entries,
    faults_of,
    first_day,
    judge,
    network_faults,
    scopes_of,
    sentence,
    typed,
)
from tests.management.pages.ground import NOW, ROUTES, SCOPES
from tests.relay.running import settings as relay_settings

HERE = Path(__file__).parent
CATALOGUE = Catalogue.of(replace(relay_settings(9, file=HERE / "x", store=HERE / "y"), operations=ROUTES), {})
GOOD = Typed("shop", "custom", frozenset(["ViewContacts"]), "10.0.0.1\n10.1.0.0/16", "2026-12-31")


def test_a_form_is_read_as_it_was_typed() -> None:
    fields = MultiDict([("name", "a"), ("access", "custom"), ("scope", "A"), ("scope", "B"), ("networks", "1\r\n2")])
    assert typed(fields) == Typed("a", "custom", frozenset("AB"), "1\n2", "")


def test_a_preset_is_its_explicit_list() -> None:
    assert scopes_of(Typed(access="full"), CATALOGUE) == frozenset(SCOPES)
    assert scopes_of(Typed(access="view"), CATALOGUE) == {"ViewContacts", "ViewTemplates"}
    assert scopes_of(replace(GOOD, access="full"), CATALOGUE) == frozenset(SCOPES)
    assert scopes_of(GOOD, CATALOGUE) == {"ViewContacts"}


def test_a_good_form_says_what_is_wanted() -> None:
    wanted = judge(GOOD, CATALOGUE, NOW)
    assert wanted == Wanted("shop", frozenset(["ViewContacts"]), ("10.0.0.1", "10.1.0.0/16"), 1798675200.0)


def test_every_fault_is_told_at_once_beside_its_field() -> None:
    faults = judge(Typed(" ", "", frozenset(), "10.0.0.5/8\nx\n1.2.3.4", "yesterday"), CATALOGUE, NOW)
    assert not isinstance(faults, Wanted)
    assert set(faults) == {"name", "access", "networks", "expires"}
    assert len(faults["networks"]) == 2
    assert "10.0.0.0/8 would be right" in faults["networks"][0]


@pytest.mark.parametrize("day", ["2026-09-21", "1969-01-01", "0001-01-01", "2026-02-30", "inf", "1e9", "2026-12-31T00"])
def test_a_day_that_has_begun_or_is_none_is_refused(day: str) -> None:
    faults = judge(replace(GOOD, expires=day), CATALOGUE, NOW)
    assert not isinstance(faults, Wanted)
    assert set(faults) == {"expires"}


def test_a_day_that_was_not_touched_keeps_its_hour_even_when_it_is_over() -> None:
    over = NOW - 86400 * 3 + 1234.5
    wanted = judge(replace(GOOD, expires=day_of(over)), CATALOGUE, NOW, over)
    assert isinstance(wanted, Wanted)
    assert wanted.expires == over


def test_an_emptied_day_means_never() -> None:
    wanted = judge(replace(GOOD, expires=""), CATALOGUE, NOW, NOW + 86400)
    assert isinstance(wanted, Wanted)
    assert wanted.expires is None


def test_the_first_day_is_one_that_the_rule_takes() -> None:
    assert isinstance(judge(replace(GOOD, expires=first_day(NOW)), CATALOGUE, NOW), Wanted)


@pytest.mark.parametrize(("text", "found"), [("", ()), (" \n,;\n", ()), ("a, b;c\n d - e ", ("a", "b", "c", "d - e"))])
def test_entries_stand_on_lines_or_between_commas(text: str, found: tuple[str, ...]) -> None:
    assert entries(text) == found


def test_too_many_entries_are_one_fault() -> None:
    assert len(network_faults(f"10.0.{n // 256}.{n % 256}" for n in range(300))) == 1
    assert network_faults(["10.0.0.1"]) == ()


def test_every_rule_that_a_form_can_break_has_its_field() -> None:
    for code, field in FIELD_OF.items():
        assert faults_of(KeyRuleBroken(code, "no")) == {field: ("No.",)}
    assert faults_of(KeyRuleBroken("too_many_keys", "full")) == {"form": ("Full.",)}


def test_a_message_becomes_a_sentence() -> None:
    assert sentence("a key needs a name") == "A key needs a name."
    assert sentence("no?") == "No?"
    assert sentence("") == "."


@given(
    st.builds(
        Typed,
        name=st.text(max_size=120),
        access=st.sampled_from(["full", "view", "custom", "", "all"]),
        chosen=st.frozensets(st.text(max_size=8), max_size=4),
        networks=st.text(max_size=60),
        expires=st.one_of(st.text(max_size=12), st.dates().map(str)),
    )
)
def test_any_form_is_wanted_or_faulty_and_never_an_error(form: Typed) -> None:
    found = judge(form, CATALOGUE, NOW)
    if isinstance(found, Wanted):
        assert found.name
        assert found.expires is None or (math.isfinite(found.expires) and found.expires > NOW)
    else:
        assert all(found.values())
