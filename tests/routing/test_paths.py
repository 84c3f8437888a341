from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.routing.paths import MOST_READINGS, BadPath, decoded, fold, is_plain, readings, segments

PLAIN = ("/", "/v4", "/v4/", "/v4/contacts/a@b.example", "/.well-known/x", "/a..b/.c", "/a|b/{c}", "/a:b,c=d")
NOT_PLAIN = (
    "",
    "v4",
    "/a%41",
    "/a;b",
    "/a\\b",
    "/a#b",
    "/a?b",
    "/a b",
    "/a\tb",
    "/é",
    "//",
    "/a//b",
    "/.",
    "/a/..",
    "/../a",
    "/a.",
    "/a./b",
    "/a/...",
)


@pytest.mark.parametrize("path", PLAIN)
def test_a_plain_path_has_one_reading(path: str) -> None:
    assert is_plain(path.encode())
    assert readings(path.encode()) == (tuple(path[1:].encode().split(b"/")),)


@pytest.mark.parametrize("path", NOT_PLAIN)
def test_a_path_that_needs_care_is_not_plain(path: str) -> None:
    assert not is_plain(path.encode())


BAD = {
    "no slash in front": (b"", b"a", b"*", b"http://h/a", b"%2Fa"),
    "incomplete escapes": (b"/%", b"/a%2", b"/%zz", b"/%u002e", b"/%%41", b"/a%2/b"),
    "control bytes": (b"/a\x00b", b"/a\tb", b"/a\r\nb", b"/a\x7f", b"/%00", b"/a%0d%0ab", b"/%7F", b"/a%1fb", b"/a b"),
    "layers of control bytes": (b"/a%2500", b"/a%252500", b"/%25250a"),
    "beyond ASCII": ("/é".encode(), b"/\xff", "/．．/a".encode()),
    "backslashes": (b"/a\\b", b"/%5c", b"/a%5Cb", b"/..%5c..", b"/a%255cb", b"/a%25255Cb", b"/%EF%BC%BC"),
    "fragments": (b"/a#b", b"/#", b"/a/#/../b"),
    "queries": (b"/a?b",),
    "empty segments": (b"//", b"//a", b"/a//b", b"/a///", b"/a//", b"/a/%2Fb", b"/%2F%2Fa", b"/a%2F%2Fb", b"/a%252F/b"),
    "segments that cutting empties": (b"/;a/b", b"/a/;/b", b"/a/;x=1/b", b"/a/%3B/b", b"/a/%253bx/b"),
    "dot segments": (b"/.", b"/..", b"/a/./b", b"/a/../b", b"/a/..", b"/../../etc/passwd"),
    "escaped dot segments": (
        b"/%2e",
        b"/%2E%2e/a",
        b"/.%2e/a",
        b"/%2e./a",
        b"/a/%2e%2E",
        b"/a%2F..%2Fb",
        b"/a%2f%2e%2e",
    ),
    "dot segments with parameters": (
        b"/a/..;/b",
        b"/a/.;x=1/b",
        b"/..;",
        b"/a/%2e%2e;x/b",
        b"/a/..%3B/b",
        b"/a/..%3bx",
    ),
    "layers of dot segments": (b"/%252e%252e/a", b"/a/%25252e%25252e", b"/a%252f..%252fb", b"/..%253ba/b", b"/%%32%65"),
    "dots and spaces": (b"/a/..%20/b", b"/a/%20../b", b"/.%20"),
    "dots in unicode": (b"/%EF%BC%8E%EF%BC%8E/a", b"/%E2%80%A5/a", b"/a%EF%BC%8F..%EF%BC%8Fb"),
    "bytes that are not UTF-8": (
        b"/%c0%af",
        b"/%c0%ae%c0%ae/a",
        b"/%e0%80%af",
        b"/%ff",
        b"/a%e9",
        b"/%ed%a0%80",
        b"/%25c0%25af",
    ),
    "too many layers": (b"/%" + b"25" * 40 + b"41",),
}


REASONS = {
    "the path does not begin with a slash",
    "the path holds a byte that does not belong in one",
    "the path holds an incomplete escape",
    "the path holds an escaped control byte or backslash",
    "the path holds a dot segment",
    "the path holds an empty segment",
    "the path holds escapes that are not UTF-8",
    "the path is escaped in too many layers",
}


@pytest.mark.parametrize(("family", "path"), [(family, path) for family, paths in BAD.items() for path in paths])
def test_a_bad_path_is_refused_whatever_routes_there_are(family: str, path: bytes) -> None:
    with pytest.raises(BadPath) as caught:
        readings(path)
    assert caught.value.reason == str(caught.value)
    assert caught.value.reason in REASONS  # and so holds nothing of the path


def test_segments_are_split_before_they_are_decoded() -> None:
    assert segments(b"/v4/security/apikeys/a%2Fb") == (b"v4", b"security", b"apikeys", b"a/b")
    assert segments(b"/%61dmin") == (b"admin",)
    assert segments(b"/a%20b/%C3%A9") == (b"a b", "é".encode())


def test_a_trailing_slash_is_an_empty_last_segment() -> None:
    assert segments(b"/a/") == (b"a", b"")
    assert segments(b"/") == (b"",)


READINGS = {
    b"/a%2Fb": {"a|b"},
    b"/a%252Fb": {"a/b", "a|b"},
    b"/a;x/b": {"a|b", "a"},
    b"/a%3Bx/b": {"a|b", "a"},
    b"/a%3Bx;y": {"a;x", "a"},
    b"/a.": {"a"},
    b"/a..%20./b.": {"a|b"},
    b"/a%20/b%2e": {"a|b"},
    b"/a%2520": {"a", "a "},
    b"/a./": {"a|"},
    b"/a.;x/b": {"a|b"},
    b"/...": set(),
    b"/a%3Fb/c": {"a"},
    b"/a%23b": {"a"},
    b"/a%2Fb%3Bc%2Fd": {"a|b;c|d", "a|b|d", "a|b", "a/b"},
    b"/a%EF%BC%8Fb": {"a/b", "a|b"},
    b"/100%25": set(),
    b"/100%2541": {"100A"},
}


@pytest.mark.parametrize("path", READINGS)
def test_other_readings_come_after_our_own(path: bytes) -> None:
    first, *others = ("|".join(segment.decode() for segment in segs) for segs in readings(path))
    assert first == "|".join(segment.decode() for segment in segments(path))
    assert set(others) >= READINGS[path]
    assert bool(others) == bool(READINGS[path])


NAME = st.text(st.characters(categories=("L", "N")) | st.sampled_from(" !\"$&'()*+,-:<=>@[]^_`{|}~"), min_size=1)


@given(NAME)
def test_a_name_that_a_client_encodes_comes_back(name: str) -> None:
    path = b"/x/" + quote(name, safe="").encode()
    assert readings(path)[0] == segments(path) == (b"x", name.encode())


@pytest.mark.parametrize(
    "name", ["a/b", "50%off", "100% a;b?c#d/e é", "AT&T;R/D", "c++", "a.b", "...", "München", "日本", "+@:,"]
)
def test_a_name_with_special_characters_passes(name: str) -> None:
    assert readings(b"/x/" + quote(name, safe="").encode())[0] == (b"x", name.encode())


@given(st.binary(max_size=40).map(lambda tail: b"/" + tail))
def test_a_plain_path_is_never_read_in_two_ways_or_refused(path: bytes) -> None:
    if is_plain(path):
        assert readings(path) == (tuple(path[1:].split(b"/")),)


@pytest.mark.parametrize("byte", range(256))
@pytest.mark.parametrize("spelling", ["%{:02X}", "%{:02x}"])
def test_what_is_escaped_harmlessly_is_decoded_at_once_and_read_in_one_way(byte: int, spelling: str) -> None:
    escape = spelling.format(byte).encode()
    harmless = 0x20 < byte < 0x7F and byte not in b"#%./;?\\"
    for path in (b"/" + escape, b"/a" + escape, b"/x/a" + escape + b"b/c", b"/x/" + escape + b"/"):
        assert decoded(path) == (path.replace(escape, bytes([byte])) if harmless else None)


@pytest.mark.parametrize(
    "path",
    [b"", b"a%40b", b"/a%40b.", b"/a%40./b", b"/%40//b", b"//%40", b"/a%40%", b"/a%40%4", b"/a%40%4g", b"/a%2540",
     b"/..%40/../b", b"/%40/./", b"/a%40;b", b"/a%40?b", b"/a%40#b", b"/a%40\\b", b"/a%40 b", b"/a%40\xe9",
     b"/a%40\nb"],
)  # fmt: skip
def test_whatever_else_is_in_a_path_its_escapes_are_read_with_care(path: bytes) -> None:
    assert decoded(path) is None


PIECES = st.sampled_from(
    [*"ab./;%@:~", "%40", "%3A", "%3a", "%2b", "%7E", "%2", "%2f", "%25", "%3b", "%20", "%2e", "%c3%a9"]
)


@given(st.lists(PIECES, max_size=14).map(lambda parts: ("/" + "".join(parts)).encode()))
def test_what_is_decoded_at_once_has_the_one_reading_that_care_would_find(path: bytes) -> None:
    found = decoded(path)
    if found is not None:
        assert readings(path) == (tuple(found[1:].split(b"/")),)


ALPHABET = st.sampled_from([*"ab./;%", "%2", "%2f", "%25", "%3b", "%3F", "%ef%bc%8f", "%2e", "%5c", "%00", "%c0"])


@given(st.lists(ALPHABET, max_size=14).map(lambda parts: ("/" + "".join(parts)).encode()))
def test_no_reading_holds_what_is_always_refused(path: bytes) -> None:
    try:
        found = readings(path)
    except BadPath:
        return
    assert len(found) <= MOST_READINGS
    for segs in found:
        joined = b"/".join(segs)
        assert not {b".", b".."} & {part.partition(b";")[0] for part in joined.split(b"/")}
        assert b"\\" not in joined
        assert b"\0" not in joined
        assert b"" not in segs[:-1]
        joined.decode()


def test_folding_knows_letters_that_only_some_servers_fold() -> None:
    assert fold((b"V4", b"Admin")) == (b"v4", b"admin")
    kelvin, long_s, dotless = "\u212a", "\u017f", "\u0131"
    assert fold(("É".encode(), f"{kelvin}{long_s}{dotless}".encode())) == ("é".encode(), b"ksi")
