"""Descriptions in OpenAPI documents, which are Markdown by somebody else, as HTML that does no harm.

Law: what leaves here holds only the elements of ``ELEMENTS``, no attribute but a link's address and what we add to
it, and no link but to the web or to an e-mail address. HTML within Markdown is text like any other; of it only what
generators of documents like to write (``<a>``, ``<br>``, ``<p>`` …) is read as the Markdown that it means.

Source: https://spec.openapis.org/oas/v3.1.0#rich-text-formatting (CommonMark); the parser is markdown-it-py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import unescape
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

LONGEST: Final = 12_000
"""Characters of a description that are read; a parser of Markdown is not quick with all that can be written."""
_FLOW: Final = ("p", "br", "hr", "pre", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td")
ELEMENTS: Final = frozenset((*_FLOW, "em", "strong", "s", "code", "a"))
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s<>\"'\\]+", re.IGNORECASE).fullmatch
_ANCHOR: Final = re.compile(
    r"""<a\b[^<>]{0,300}?href=(?:"([^"<>]{1,500})"|'([^'<>]{1,500})')[^<>]{0,300}>([^<>]{0,300})</a>""", re.I
)
_BREAK: Final = re.compile(r"<br\s{0,3}/?>", re.I)
_PARAGRAPH: Final = re.compile(r"</?(?:p|div|ul|ol)>", re.I)
_ITEM: Final = re.compile(r"<li>", re.I)
_STRONG: Final = re.compile(r"</?(?:b|strong)>", re.I)
_DROPPED: Final = re.compile(r"</?(?:i|em|u|span|li|h[1-6])>", re.I)
_CODE: Final = re.compile(r"</?(?:code|tt)>", re.I)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 12}).enable(["table", "strikethrough"])
    parser.disable(["image", "html_block", "html_inline"])
    parser.validateLink = lambda url: _LINK(url) is not None  # type: ignore[method-assign]
    return parser


@lru_cache(maxsize=256)
def prose(text: str) -> Markup:
    """The description as HTML, safe to stand in a page."""
    parser = _parser()
    tokens = parser.parse(_without_tags(text[:LONGEST]))
    return Markup(parser.renderer.render(list(_tamed(tokens)), parser.options, {}))


def _without_tags(text: str) -> str:
    """Well-meant HTML as Markdown. Only for looks: what is missed or made here is escaped and checked later."""
    if "`" in text:
        return text  # it is Markdown, and tags within code are what it speaks of
    text = _ANCHOR.sub(_as_link, text)
    text = _BREAK.sub("  \n", text)
    text = _ITEM.sub("\n- ", text)
    text = _PARAGRAPH.sub("\n\n", text)
    text = _CODE.sub("`", _STRONG.sub("**", text))
    return _DROPPED.sub("", text)


def _as_link(found: re.Match[str]) -> str:
    address, text = unescape(found[1] or found[2]).strip(), found[3].strip()
    if not text or not _LINK(address) or any(each in address for each in "()<>"):
        return text
    return f"[{text.replace('[', '').replace(']', '')}]({address})"


def _tamed(tokens: Sequence[Token]) -> Iterator[Token]:
    """Headings as strong paragraphs (a page has its own order of them), no attributes but those of links."""
    for token in tokens:
        if token.tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            token.tag = "p"
        if token.type == "fence":
            token.info = ""  # it would become a class
        token.attrs = {"href": token.attrs["href"], "rel": _REL} if "href" in token.attrs else {}
        if token.children:
            token.children = list(_tamed(token.children))
        yield token


_REL: Final = "noopener noreferrer nofollow"
