from __future__ import annotations

import re
import string
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.keys import secret as secrets
from keystile.loadtest import report
from keystile.loadtest.comparison import compare
from keystile.loadtest.connection import BROKEN, CUT, LATE, NO_CONNECTION
from keystile.loadtest.records import AddressSum, CallSum, KeyShown, Record
from tests.loadtest.examples import record, windows

TEXTS = st.text(st.sampled_from(string.punctuation + "abz \u202e\x00\n\x7fé"), min_size=1, max_size=40)
VOID = {"meta", "path", "link"}


class Page(HTMLParser):
    """The elements and attributes of a page, and its text by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def names(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def of(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def strange(text: str) -> Record:
    """A run in which every text is somebody's."""
    return record(
        scenario=text,
        what=text,
        target=text,
        began=text,
        version=text,
        tools=text,
        machine=text,
        notes=(text,),
        calls=(CallSum(text, text, 1, 1),),
        addresses=(AddressSum(text, 1),),
        keys=(KeyShown(text, text[:5]),),
        windows=tuple(replace(each, refused={text: 1}, wrong={text: 2}) for each in windows()),
    )


@settings(max_examples=25)  # two pages each
@given(TEXTS)
def test_no_text_becomes_anything_but_text(text: str) -> None:
    plain, with_text = (Page(report.page(strange(each))) for each in ("plain", text))
    assert [tag for tag, _ in with_text.elements] == [tag for tag, _ in plain.elements]
    assert [sorted(attributes) for _, attributes in with_text.elements] == [
        sorted(attributes) for _, attributes in plain.elements
    ]
    both = [Page(report.comparison_page(compare(strange(each), strange(each)))) for each in ("plain", text)]
    assert [tag for tag, _ in both[0].elements] == [tag for tag, _ in both[1].elements]


@pytest.fixture(params=["run", "comparison"])
def page(request: pytest.FixtureRequest) -> str:
    if request.param == "run":
        return report.page(record())
    return report.comparison_page(compare(record(), record(p99=0.06)))


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing(page: str) -> None:
    found = Page(page)
    assert not found.names() & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith(("on", "xlink"))]
    assert not [name for _, attributes in found.elements for name in attributes if name in ("src", "href", "style")]
    assert "url(" not in page
    assert "@import" not in page
    policies = [each["content"] for each in found.of("meta") if "http-equiv" in each]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_every_plot_says_in_words_what_it_shows(page: str) -> None:
    plots = [each for each in Page(page).of("svg") if each.get("role") == "img"]
    ids = {attributes["id"] for _, attributes in Page(page).elements if "id" in attributes}
    assert len(plots) >= 4
    for plot in plots:
        assert set(plot["aria-labelledby"].split()) <= ids
    decoration = [each for each in Page(page).of("svg") if each.get("role") != "img"]
    assert {each.get("aria-hidden") for each in decoration} == {"true"}


def test_names_of_elements_are_used_once(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(page).elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_page_has_a_title_that_says_how_it_went() -> None:
    assert "<title>Load test steady: passed · Keystile</title>" in report.page(record())
    assert "<title>Load test steady: failed · Keystile</title>" in report.page(record(p99=0.06))
    worse = report.comparison_page(compare(record(), record(p99=0.06)))
    assert "<title>Load tests compared: worse: p99 · Keystile</title>" in worse


def test_a_key_that_stands_where_none_belongs_is_not_shown() -> None:
    secret = secrets.generate()
    for made in (report.page(strange(secret)), report.comparison_page(compare(strange(secret), strange(secret)))):
        assert secret not in made
        assert f"[key …{secret[-5:]}]" in made


def test_a_missed_objective_and_an_inexact_round_can_be_seen() -> None:
    inexact = replace(record().rounds[0], let_in=21, refused=4)
    made = report.page(record(p99=0.06, rounds=(inexact, replace(inexact, held=False))))
    assert ">missed<" in made
    assert ">not exact<" in made
    assert "not held long enough" in made


def test_reasons_are_told_in_words() -> None:
    reasons = {"too-many-at-once": 1, NO_CONNECTION: 1, CUT: 1, BROKEN: 1, LATE: 1, "answered": 1, "status-502": 1}
    made = report.page(record(windows=tuple(replace(each, wrong=reasons) for each in windows())))
    for words in (
        "too many requests at once from one address",
        "no connection could be made",
        "no answer came in time",
    ):
        assert words in made
    assert made.count('class="wrong"') == len(reasons)


def test_long_tables_are_cut_and_say_so() -> None:
    calls = tuple(CallSum("GET", f"/v4/{at}", 100 - at, wrong=int(at == 70)) for at in range(80))
    addresses = tuple(AddressSum(f"127.1.0.{at}", 1, at) for at in range(100))
    made = report.page(record(calls=calls, addresses=addresses))
    assert "and 50 more" in made
    assert "and 88 more" in made
    rows = re.findall(r">GET (/v4/\d+)</code>", made)
    assert rows[:2] == ["/v4/70", "/v4/0"]


def test_a_run_without_anything_is_still_a_page() -> None:
    empty = record(windows=(), calls=(), addresses=(), rounds=(), keys=(), verdicts=(), notes=(), rate=None)
    made = report.page(empty)
    assert "None were stated." in made
    assert "Nothing was refused, and nothing failed." in made
