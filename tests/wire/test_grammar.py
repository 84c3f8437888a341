"""The grammar: every expression accepts what the RFCs write down, refuses the rest, and is linear in what it reads."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire.grammar import (
    ABSOLUTE_FORM,
    ANSWER_HEAD,
    CHUNK_LINE,
    HOP_BY_HOP,
    HOST,
    IDEMPOTENT,
    METHODS,
    OTHER_VERSION,
    REQUEST_LINE,
    TRAILER,
)

#: RFC 9110 §5.6.2, written out.
TCHAR = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("line", "method", "target"),
    [
        (b"GET / HTTP/1.1\r\n", b"GET", b"/"),
        (b"M-SEARCH * HTTP/1.0\r\n", b"M-SEARCH", b"*"),
        (b"GET /a?b=c;d%20!$~ HTTP/1.1\r\n", b"GET", b"/a?b=c;d%20!$~"),
        (b"CONNECT a:443 HTTP/1.1\r\n", b"CONNECT", b"a:443"),
    ],
)
def test_a_request_line_is_method_target_and_version(line: bytes, method: bytes, target: bytes) -> None:
    match = REQUEST_LINE.match(line)
    assert match is not None
    assert (match[1], match[2], line[match.end() :]) == (method, target, line[-3:])


@pytest.mark.parametrize(
    "line",
    [
        b" GET / HTTP/1.1\r\n", b"GET  / HTTP/1.1\r\n", b"GET /  HTTP/1.1\r\n", b"GET / HTTP/1.1 \r\n", b"GET /\r\n",
        b"GET / HTTP/1.2\r\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r", b"GET /\x00 HTTP/1.1\r\n",
        b"GET /\x7f HTTP/1.1\r\n", b"GET /\xff HTTP/1.1\r\n", b"get / HTTP/1.1\r\n", b"GET\t/ HTTP/1.1\r\n",
        b"GET / http/1.1\r\n", b"G" * 25 + b" / HTTP/1.1\r\n", b" / HTTP/1.1\r\n", b"GET  HTTP/1.1\r\n",
        b"GET / HTTP/1.11\r\n", b"GET / a HTTP/1.1\r\n",
    ],
)  # fmt: skip
def test_anything_else_is_no_request_line(line: bytes) -> None:
    assert REQUEST_LINE.match(line) is None


def test_only_whole_numbers_of_versions_are_told_as_other_versions() -> None:
    for version in (b"2.0", b"2", b"1.2", b"0.9", b"3"):
        assert OTHER_VERSION.match(b"GET / HTTP/" + version + b"\r\n") is not None
    for version in (b"11", b"1.10", b"1.", b"", b"1.1x", b"x"):
        assert OTHER_VERSION.match(b"GET / HTTP/" + version + b"\r\n") is None


@pytest.mark.parametrize("byte", range(256))
def test_field_names_are_tokens_and_values_are_visible(byte: int) -> None:
    one = bytes([byte])
    head = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n"
    name_is_good = one in TCHAR
    value_is_good = byte == 9 or (byte >= 32 and byte != 127)
    assert (TRAILER.fullmatch(one + b": x") is not None) is name_is_good
    assert (TRAILER.fullmatch(b"X: a" + one + b"b") is not None) is value_is_good
    # A colon in a name ends it earlier, which is another name and no fault.
    assert (ANSWER_HEAD.fullmatch(head % (b"X" + one + b"Y: z")) is not None) is (name_is_good or one == b":")
    assert (ANSWER_HEAD.fullmatch(head % (b"X: a" + one + b"b")) is not None) is value_is_good
    assert (ANSWER_HEAD.fullmatch(b"HTTP/1.1 200 O" + one + b"K\r\n\r\n") is not None) is value_is_good


@pytest.mark.parametrize("host", [b"a", b"a.example", b"127.0.0.1:8080", b"[::1]", b"[::1]:80", b"a_b", b"a:", b"~"])
def test_hosts(host: bytes) -> None:
    assert (HOST.fullmatch(host) is not None) is (host != b"a:")


@pytest.mark.parametrize(
    "host",
    [b"", b"a b", b"a,b", b"a/b", b"u@a", b"a?b", b"a#b", b"a\\b", b"[::1", b"::1", b"a:80:80", b"a:123456", b"a:x",
     b"[fe80::1%25e]", b"\xe9", b"a\r", b"a\n", b"a\t"],
)  # fmt: skip
def test_what_is_no_host(host: bytes) -> None:
    assert HOST.fullmatch(host) is None


def test_absolute_form_is_taken_apart() -> None:
    for target, authority, path in (
        (b"http://a/b?c", b"a", b"/b?c"),
        (b"HTTPS://a:1", b"a:1", None),
        (b"http://u@a/", b"u@a", b"/"),
    ):
        match = ABSOLUTE_FORM.fullmatch(target)
        assert match is not None
        assert match.groups() == (authority, path)
    for target in (b"http:///", b"ftp://a/", b"http:/a", b"http://a?b", b"http://a#b", b"a:443", b"*", b"//a/"):
        assert ABSOLUTE_FORM.fullmatch(target) is None


@given(st.integers(0, 16**15 - 1))
def test_every_size_up_to_15_digits_is_a_chunk_line(size: int) -> None:
    for line in (b"%x" % size, b"%X" % size, b"%015x;a=b" % size):
        match = CHUNK_LINE.fullmatch(line)
        assert match is not None
        assert int(match[1], 16) == size


@pytest.mark.parametrize(
    "line", [b"", b"+5", b"-5", b"0x5", b" 5", b"5 ", b"5 ;a", b"g", b"1" * 16, b"5;\n", b"5;\x00"]
)
def test_what_is_no_chunk_line(line: bytes) -> None:
    assert CHUNK_LINE.fullmatch(line) is None


def test_what_may_be_sent_twice_and_what_is_never_passed_on() -> None:
    assert IDEMPOTENT <= METHODS
    assert not IDEMPOTENT & {b"POST", b"PATCH", b"CONNECT"}
    assert {b"connection", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"keep-alive"} <= HOP_BY_HOP
    assert all(name == name.lower() and b"_" not in name for name in HOP_BY_HOP)


@pytest.mark.parametrize("expression", [REQUEST_LINE, OTHER_VERSION, ANSWER_HEAD, TRAILER, HOST, ABSOLUTE_FORM])
def test_no_expression_goes_back_over_what_it_has_read(expression: re.Pattern[bytes]) -> None:
    """Unbounded repetition is possessive: only then is the cost of refusing linear."""
    assert not re.search(rb"[*+](?![+])", re.sub(rb"\[[^]]*\]|\\.|[*+][+]|\{[^}]*\}\+?", b"", expression.pattern))
