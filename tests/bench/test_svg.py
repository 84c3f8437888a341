from __future__ import annotations

from xml.etree import ElementTree

from bench.svg import COLOURS, WIDTH, Card

NAMESPACE = "{http://www.w3.org/2000/svg}"


def drawn() -> ElementTree.Element:
    card = Card()
    card.text(10, 20, 'a < b & "c"', anchor="end", bold=True)
    card.box(10, 30, -5, 12, "ours", 2)
    card.line(0, 0, 10, 10, "mark", dashes="3 3")
    card.dot(5, 5, 4, "ours", hollow=True)
    return ElementTree.fromstring(card.document(300, "costs & <more>"))


def test_a_card_is_a_document_of_its_size_with_its_words_escaped() -> None:
    root = drawn()
    assert root.tag == f"{NAMESPACE}svg"
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == (str(WIDTH), "300", f"0 0 {WIDTH} 300")
    assert root.get("aria-label") == root.findtext(f"{NAMESPACE}title") == "costs & <more>"
    assert root.findtext(f"{NAMESPACE}text") == 'a < b & "c"'


def test_a_length_below_nothing_is_nothing() -> None:
    boxes = [box for box in drawn().iter(f"{NAMESPACE}rect") if box.get("class") == "ours"]
    assert boxes[0].get("width") == "0.0"


def test_every_class_has_a_colour_in_both_themes() -> None:
    root = drawn()
    style = root.findtext(f"{NAMESPACE}style") or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for each in root.iter():
        for name in (each.get("class") or "").split():
            assert f".{name} {{" in light
            assert f".{name} {{" in dark
    assert all(light_colour != dark_colour for light_colour, dark_colour in COLOURS.values())


def test_a_card_asks_for_nothing_from_elsewhere() -> None:
    card = Card()
    text = card.document(10, "x")
    assert "url(" not in text
    assert "href" not in text
    assert "<script" not in text
