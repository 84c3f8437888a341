from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.management.pages import layout, writing

EVIL = "\u202egnp.exe\u2069"


def test_a_moment_is_written_for_people_and_for_machines() -> None:
    text = str(writing.moment(1_700_000_000.0))
    assert 'datetime="2023-11-14T22:13:20Z"' in text
    assert ">14 Nov 2023, 22:13 UTC</time>" in text
    assert ">14 Nov 2023</time>" in str(writing.day(1_700_000_000.0))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (7200, "2 hours ago"),
        (86400, "1 day ago"),
        (-1, "in less than a minute"),
        (-3600, "in 1 hour"),
        (-86400 * 20, "in 20 days"),
    ],
)
def test_a_distance_is_said_in_its_largest_unit(seconds: float, words: str) -> None:
    assert writing.distance(seconds) == words


def test_a_short_length_is_said_in_seconds() -> None:
    assert (writing.length(30), writing.length(90), writing.length(604800)) == ("30 seconds", "1 minute", "7 days")


def test_what_is_more_than_a_month_away_is_a_date() -> None:
    template = layout.environment().from_string("{{ at|ago }}")
    assert ">2 hours ago<" in template.render(now=1_700_007_200.0, at=1_700_000_000.0)
    assert ">14 Nov 2023<" in template.render(now=1_800_000_000.0, at=1_700_000_000.0)


def test_of_a_secret_the_last_five_are_left() -> None:
    assert writing.hint("ABCDE") == "•••…ABCDE"


@given(st.text())
def test_no_text_of_somebodys_own_reorders_its_surroundings(text: str) -> None:
    shown = writing.shown(text + EVIL)
    assert shown.endswith("[U+202E]gnp.exe[U+2069]")
    assert not set(shown) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def test_emoji_and_scripts_that_need_joiners_are_left_alone() -> None:
    assert writing.shown("👩‍💻 می‌خواهم") == "👩‍💻 می‌خواهم"
