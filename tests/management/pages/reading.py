"""Reading pages in tests: as a browser's parser does, and what the Content-Security-Policy allows."""

from __future__ import annotations

from html.parser import HTMLParser

LARGEST_PAGE = 50 * 1024
_RUNS = ("onclick", "onerror", "onload", "onmouseover", "onfocus", "srcdoc")


class Page(HTMLParser):
    """What stands in a page: elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        self.size = len(text.encode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of that name."""
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def links(self) -> list[str]:
        """Where links lead."""
        return [attrs["href"] for attrs in self.all("a")]


def harmless(text: str) -> Page:
    """The page, after a look that it is small and that nothing in it runs or is loaded but our own files."""
    page = Page(text)
    assert page.size < LARGEST_PAGE, page.size
    for tag, attrs in page.elements:
        assert tag not in ("style", "iframe", "object", "embed", "base", "img"), tag
        assert not {"style", *_RUNS} & set(attrs), (tag, attrs)
        assert attrs.get("src", "/static/").startswith("/static/")
        assert not attrs.get("href", "/").lower().startswith(("javascript:", "data:"))
    assert len(page.all("script")) == 1
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    return page
