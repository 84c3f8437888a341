from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from keystile.management.prose import ELEMENTS, prose

VOID = {"br", "hr"}
PIECES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    '<a href="https://e.com/" onclick="x()">y</a>',
    "[x](javascript:alert(1))",
    "[x](https://e.com/ \"t\" onclick=1)",
    "![x](https://e.com/x.png)",
    "<javascript:alert(1)>",
    "[x](/operator/accounts)",
    "[x](//e.com)",
    "[x](ftp://e.com)",
    "7. ",
    "<https://e.com/'onmouseover='x>",
    "[r]: data:text/html,<script>",
    "[r]",
    "```html onload=x\n",
    "| a | b |\n|:-:|--|\n| <b> | `c` |",
    "# ",
    "> ",
    "- ",
    "1. ",
    "\n",
    "**",
    "`",
    "<",
    ">",
    '"',
    "&lt;script&gt;",
    "&#x6A;avascript:",
    "<style>*{}</style>",
    "<svg/onload=alert(1)>",
    "</p></section>",
    "<a href=\"data:text/html,x\">z</a>",
]


class Judge(HTMLParser):
    """Reads HTML as a browser does, and holds it to the law."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS
        assert all(name in ("href", "rel") for name, _ in attrs)
        if tag == "a":
            href = dict(attrs)["href"] or ""
            assert href.lower().startswith(("https://", "http://", "mailto:"))
        else:
            assert not attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def judge(text: str) -> None:
    reader = Judge()
    reader.feed(prose(text))
    reader.close()
    assert reader.open == []


@hypothesis(deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=14).map("".join))
def test_nothing_leaves_that_is_not_allowed_and_every_element_is_closed(text: str) -> None:
    judge(text)


def test_markdown_is_read() -> None:
    assert prose("**a** and `b`\n\n- one\n- [two](https://e.com/?a=1&b=2)") == (
        "<p><strong>a</strong> and <code>b</code></p>\n<ul>\n<li>one</li>\n"
        '<li><a href="https://e.com/?a=1&amp;b=2" rel="noopener noreferrer nofollow">two</a></li>\n</ul>\n'
    )


def test_attributes_that_markdown_can_make_are_left_out() -> None:
    judge("| a | b |\n|:-:|--:|\n| 1 | 2 |\n\n7. seven\n\n[x](/operator/accounts) [y](https://e.com/ 'title')")


def test_a_heading_is_a_paragraph_so_that_the_page_keeps_its_order() -> None:
    assert prose("## Mind\n\nthis") == "<p>Mind</p>\n<p>this</p>\n"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one<br/>two", "<p>one<br />\ntwo</p>\n"),
        ("<p>one</p><p><b>two</b></p>", "<p>one</p>\n<p><strong>two</strong></p>\n"),
        (
            "<a target='_blank' href='https://e.com/x'>here</a>",
            '<p><a href="https://e.com/x" rel="noopener noreferrer nofollow">here</a></p>\n',
        ),
        ("<a href='javascript:alert(1)'>here</a>", "<p>here</p>\n"),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
        ("`<b>` is bold", "<p><code>&lt;b&gt;</code> is bold</p>\n"),
        ("a List<string> & more", "<p>a List&lt;string&gt; &amp; more</p>\n"),
    ],
)
def test_html_that_generators_write_is_read_and_all_other_is_text(text: str, html: str) -> None:
    assert prose(text) == html


@pytest.mark.parametrize("unit", ["[", "*", "<a href='", "> ", "`", "![](", "- ", "<a ", "\\", "|a|b|\n|-|-|\n", "(("])
def test_what_is_hard_to_parse_is_bounded(unit: str) -> None:
    judge(unit * 20_000)
