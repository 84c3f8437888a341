from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keystile.config import yamltext
from keystile.config.yamltext import DEEPEST, MOST_VALUES, BadYaml, Piece, path_of, read


def plain(text: str) -> Any:
    piece, repeated = read(text)
    assert piece is not None
    assert not repeated
    return piece.plain()


def refused(text: str) -> BadYaml:
    with pytest.raises(BadYaml) as caught:
        read(text)
    return caught.value


@pytest.fixture(params=["C", "Python"])
def _either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads the text may be libyaml or, where PyYAML was built without it, PyYAML itself."""
    if request.param == "Python":
        monkeypatch.setattr(yamltext, "_LOADER", yaml.SafeLoader)


@pytest.mark.usefixtures("_either_parser")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("off", "off"), ("no", "no"), ("yes", "yes"), ("on", "on"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("15", 15), ("-3", -3), ("0", 0), ("1.2", "1.2"),
        ("0600", "0600"), ("0x10", "0x10"), ("1:30", "1:30"), ("1_000", "1_000"), ("2025-03-31", "2025-03-31"),
        (".inf", ".inf"), ("1e3", "1e3"), ("'15'", "15"), ('"true"', "true"), ("!!str 15", "15"),
        ("9" * 30, "9" * 30), ("=", "="), ("|\n  a\n  b\n", "a\nb\n"), ("[1, {b: 2}]", [1, {"b": 2}]),
    ],
)  # fmt: skip
def test_a_scalar_is_what_people_mean_by_it(written: str, meant: object) -> None:
    assert plain(f"a: {written}") == {"a": meant}


@pytest.mark.usefixtures("_either_parser")
def test_names_are_text_whatever_yaml_would_make_of_them() -> None:
    assert plain("on: 1\n5: 2\n~: 3\ntrue: 4") == {"on": 1, "5": 2, "~": 3, "true": 4}


def test_an_empty_text_holds_no_document() -> None:
    assert read("") == (None, [])
    assert read("# only a comment\n") == (None, [])


def test_every_value_knows_its_line() -> None:
    piece, _ = read("a:\n  b:\n    - 1\n    - c: 2\nd: 3\n")
    assert piece is not None
    lines = {loc: piece.at(loc)[0] for loc in [("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1, "c"), ("d",)]}
    assert list(lines.values()) == [1, 2, 3, 4, 5]


def test_what_is_missing_is_told_at_what_lacks_it() -> None:
    piece, _ = read("a: 1\nb:\n  c: 1\n")
    assert piece is not None
    assert [piece.at(("b", "x"))[0], piece.at(("b", "x", 7, "y"))[0], piece.at(("x",))[0]] == [2, 2, 1]


@pytest.mark.usefixtures("_either_parser")
def test_a_name_that_stands_twice_is_told_with_both_lines() -> None:
    piece, repeated = read("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert piece is not None
    assert piece.plain() == {"a": {"b": 1, "c": 2}}
    assert [(one.loc, one.line, one.first_line) for one in repeated] == [(("a", "b"), 4, 2)]


@pytest.mark.usefixtures("_either_parser")
def test_anchors_and_merges_stand_for_what_they_name() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]\nd: {<<: [{x: 5}, *a]}\n&k e: *k\nf: {*k : 1}"
    assert plain(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}] * 2,
        "d": {"x": 5, "y": 2},
        "e": "e",
        "f": {"e": 1},
    }


@pytest.mark.usefixtures("_either_parser")
def test_only_mappings_can_be_merged() -> None:
    assert "merged with <<" in refused("{<<: 5}").message


@pytest.mark.usefixtures("_either_parser")
def test_an_alias_of_itself_is_refused() -> None:
    assert "a part of" in refused("a: &a [*a]").message


@pytest.mark.usefixtures("_either_parser")
def test_an_alias_without_an_anchor_is_refused() -> None:
    assert refused("a: 1\nb: *x").line == 2


def test_aliases_that_expand_without_end_are_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    began = time.perf_counter()
    assert f"more than {MOST_VALUES} values" in refused(bomb).message
    assert time.perf_counter() - began < 1


def test_aliases_cannot_nest_deeper_than_the_text_may() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 500))
    assert f"more than {DEEPEST} deep" in refused(chain).message


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000 + "a", "a: " + "{a: " * 50_000, "[" * 60 + "]" * 60])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    began = time.perf_counter()
    assert f"more than {DEEPEST} deep" in refused(text).message
    assert time.perf_counter() - began < 1


def test_a_text_that_is_too_large_is_refused_unread() -> None:
    assert "larger than 8 MiB" in refused("#" * (yamltext.LARGEST_FILE + 1)).message


@pytest.mark.usefixtures("_either_parser")
@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: [::]:8080", 2, '"[::]:8080"'),
        ("a: 1\nb: {path: /a/{c}, d: 1}", 2, '"/v4/files/{name}"'),
        ("a: 1\nb: @x", 2, "quote text that begins with"),
        ("a: 1\nb: c: d", 2, "is not YAML"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: !x 1", 1, "has a tag"),
        ("a: 1\nb: !!binary aGk=", 2, "has a tag"),
        ("? [a]\n: b", 1, "a name that is no text"),
        ("a: 'x", 1, "is not YAML"),
        ("a: 1\nb: \x01", 2, "is not YAML"),
    ],
)
def test_a_text_that_cannot_be_read_is_told_with_its_line(text: str, line: int, said: str) -> None:
    bad = refused(text)
    assert bad.line == line
    assert said in bad.message


def test_what_looks_like_a_secret_is_not_told() -> None:
    secret = "A1B2C3D4" * 12
    assert secret not in refused(f"a: *{secret}").message
    assert secret not in refused(f"a: !{secret} 1").message
    assert secret not in refused(f"a: !{secret}!x 1").message


@pytest.mark.usefixtures("_either_parser")
@given(st.text(max_size=40) | st.text("ab:-[]{}&*!|>'\"%@`#?,<~ \n\t015", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        piece, _ = read(text)
    except BadYaml as bad:
        said = bad.message
    else:
        said = "is read"
        assert piece is None or isinstance(piece, Piece)
    assert said.startswith(("is ", "has ", "begins ", "expands "))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_what_was_written_is_what_is_read(value: dict[str, object]) -> None:
    if any("\ud800" <= character <= "\udfff" for character in repr(value)):
        return
    # JSON style quotes every text, so nothing depends on how PyYAML writes plain scalars.
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True)
    found = read(text)[0]
    assert found is not None
    assert _as_texts(found.plain()) == _as_texts(value)


def _as_texts(value: object) -> object:
    """With everything but lists and mappings as text: PyYAML writes ``!!int "5"`` in this style."""
    if isinstance(value, dict):
        return {str(name): _as_texts(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_texts(inner) for inner in value]
    if isinstance(value, str):
        return value
    # 0 equals False, so the words are chosen by type.
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_a_path_is_told_as_it_is_written() -> None:
    assert path_of(("listeners", 0, "tls", "certificate")) == "listeners[0].tls.certificate"
    assert path_of(()) == ""
    assert "\n" not in path_of(("a\nb",))
