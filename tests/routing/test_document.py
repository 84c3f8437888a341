from __future__ import annotations

import json

import pytest
from yaml.nodes import Node

from keystile.routing.document import (
    DEEPEST,
    DocumentFault,
    entries,
    get,
    is_mapping,
    items,
    line_of,
    read_document,
    shown,
    text_of,
)


def root(text: str | bytes) -> Node:
    found = read_document(text.encode() if isinstance(text, str) else text)
    assert isinstance(found, Node), found
    return found


def fault(text: str | bytes) -> DocumentFault:
    found = read_document(text.encode() if isinstance(text, str) else text)
    assert isinstance(found, DocumentFault)
    return found


def test_a_node_knows_its_line() -> None:
    node = get(root("a: 1\nb:\n  c: x\n"), "b")
    assert node is not None
    assert line_of(node) == 3
    [(name, key, value)] = entries(node)
    assert (name, line_of(key), text_of(value)) == ("c", 3, "x")


def test_only_text_is_text() -> None:
    node = root("[a, 'null', 'yes', '1', null, yes, 1, 2021-01-01, [x], {a: b}]")
    assert [text_of(each) for each in items(node) or ()] == ["a", "null", "yes", "1"] + [None] * 6
    assert text_of(None) is None


def test_a_time_stamp_is_never_made_into_a_date() -> None:
    node = get(root("example: 2020-13-45T99:99:99Z"), "example")
    assert shown(node) == "2020-13-45T99:99:99Z"


def test_a_tag_calls_nothing() -> None:
    assert shown(root("!!python/object/apply:os.system [exit 3]")) == "a list"


def test_an_alias_costs_nothing_however_often_it_is_used() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
    )
    assert len(list(entries(root(bomb)))) == 21


def test_an_alias_to_itself_is_read() -> None:
    assert is_mapping(root("&a {a: *a}"))


def test_json_is_read_with_lines_where_it_is_yaml_too() -> None:
    node = get(root('{\n\t"a": "\\/x",\n\t"b": [1, true, null]\n}'), "b")
    assert node is not None
    assert line_of(node) == 3


def test_json_that_is_no_yaml_is_read_without_lines() -> None:
    text = json.dumps({"a": "😀", "b": [1, None, True, 2.5, {"c": []}]})
    assert "\\ud83d" in text
    node = root(text)
    assert text_of(get(node, "a")) == "😀"
    b = get(node, "b")
    assert b is not None
    assert line_of(b) is None
    assert [text_of(each) for each in items(b) or ()] == [None] * 5


def test_json_keeps_keys_that_stand_twice() -> None:
    assert [name for name, _, _ in entries(root('{"a": "\\ud83d\\ude00", "a": 2}'))] == ["a", "a"]


def test_a_byte_order_mark_does_no_harm() -> None:
    assert text_of(get(root(b"\xef\xbb\xbfa: b"), "a")) == "b"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "empty"),
        ("# nothing\n", None, "empty"),
        (b"a: \xff", None, "not UTF-8"),
        ("a: [\nb: }", 2, "neither YAML nor JSON"),
        ('{"a" "b"}', 1, "neither YAML nor JSON"),
        ('{"a": "\\ud83d\\ude00",}}', 1, "neither YAML nor JSON"),
        ("a: *b", 1, "neither YAML nor JSON"),
        ("a: 1\n---\nb: 2\n", 2, "neither YAML nor JSON"),
        ("[" * 100_000, None, "nested"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), None, "nested"),
        ("- " * 5_000 + "a", None, "nested"),
        ('{"\\ud83d\\ude00":' * 5_000 + "1" + "}" * 5_000, None, "nested"),
    ],
)
def test_what_cannot_be_read_is_a_fault(text: str | bytes, line: int | None, words: str) -> None:
    found = fault(text)
    assert words in found.message
    assert found.line == line


def test_a_long_value_is_shown_short() -> None:
    assert shown(root("x" * 100)) == "x" * 59 + "…"
    assert shown(root("'a\n\n b'")) == "a b"
    assert (shown(root("{a: b}")), shown(None)) == ("a mapping", "")
