"""Request heads: what the fields say, which lines go on, and that a doubt is a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire import request_head
from keystile.wire.faults import Fault, WireError
from keystile.wire.request_fields import IDENTITY_FIELDS, RequestFields
from keystile.wire.request_head import RequestHeadReader, origin_form
from tests.attributes import attributes

READER = RequestHeadReader(withheld=["X-Api-Key"])


def read(*lines: bytes, version: bytes = b"1", trusted: bool = False, host: bytes = b"Host: a") -> RequestFields:
    present = [host] if host else []
    return READER.read(b"\r\n".join([version, *present, *lines, b"", b""]), trusted=trusted)


def fault(*lines: bytes, version: bytes = b"1", host: bytes = b"Host: a") -> Fault:
    with pytest.raises(WireError) as raised:
        read(*lines, version=version, host=host)
    return raised.value.fault


def test_lines_are_kept_in_order_and_in_their_own_spelling() -> None:
    fields = read(b"aCCept: */*", b"X:  y z\t ", b"X: \xe9", b"Empty:")
    assert fields.kept == b"aCCept: */*\r\nX: y z\r\nX: \xe9\r\nEmpty: \r\n"
    assert (fields.host, fields.content_length, fields.chunked, fields.keep_alive) == (b"a", -1, False, True)


@pytest.mark.parametrize("name", sorted(IDENTITY_FIELDS | {b"x-forwarded-for", b"x-forwarded-anything"}))
@pytest.mark.parametrize("underscores", [False, True])
def test_identity_fields_go_on_from_trusted_peers_only(name: bytes, underscores: bool) -> None:
    spelt = name.upper().replace(b"-", b"_") if underscores else name.title()
    assert read(spelt + b": 6.6.6.6").kept == b""
    trusted = read(spelt + b": 6.6.6.6", trusted=True)
    read_or_passed = b"6.6.6.6" in trusted.kept + b"".join(trusted.forwarded_for)
    assert read_or_passed is (name != b"forwarded")  # which tells what X-Forwarded-For tells, or something else


def test_a_trusted_peer_is_read_in_one_field_only_and_neither_is_passed_on() -> None:
    lines = (b"X-Forwarded-For: 6.6.6.6", b"Forwarded: for=1.2.3.4", b"X-Forwarded-Proto: https",
             b"X_Forwarded_Host: evil", b"forwarded: for=1.2.3.5")  # fmt: skip
    block = b"".join([b"1\r\nHost: a\r\n", *(line + b"\r\n" for line in lines), b"\r\n"])
    usual = RequestHeadReader().read(block, trusted=True)
    assert (usual.forwarded_for, usual.forwarded, usual.forwarded_host) == ((b"6.6.6.6",), (), b"evil")
    other = RequestHeadReader(believes_forwarded=True).read(block, trusted=True)
    assert (other.forwarded_for, other.forwarded) == ((), (b"for=1.2.3.4", b"for=1.2.3.5"))
    assert (other.forwarded_host, other.forwarded_proto) == (b"", b"")
    strange = RequestHeadReader(believes_forwarded=True).read(block)
    assert (strange.forwarded_for, strange.forwarded) == ((), ())
    assert usual.kept == other.kept == strange.kept == b""


def test_what_asks_for_a_websocket_is_read_and_only_upgrade_is_left_out() -> None:
    fields = read(b"Upgrade: h2c", b"Sec-WebSocket-Key: a", b"sec_websocket_key: b", b"Upgrade: websocket",
                  b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Protocol: x")  # fmt: skip
    assert fields.upgrade == b"h2c, websocket"
    assert (fields.websocket_keys, fields.websocket_versions) == ((b"a", b"b"), (b"13",))
    assert fields.kept == (
        b"Sec-WebSocket-Key: a\r\nsec_websocket_key: b\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: x\r\n"
    )


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "name",
    [b"X-Keystile-Account", b"x_keystile_account", b"X-KEYSTILE-", b"Connection", b"Keep-Alive", b"TE", b"Trailer",
     b"Upgrade", b"HTTP2-Settings", b"Proxy-Connection", b"proxy_connection", b"Proxy-Authorization", b"Host"],
)  # fmt: skip
def test_nobody_sends_these_on(name: bytes, trusted: bool) -> None:
    fields = read(name + b": x", host=b"" if name == b"Host" else b"Host: a", trusted=trusted)
    assert fields.kept == b""


def test_a_trusted_peer_is_read() -> None:
    fields = read(
        b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-For: 5.6.7.8", b"X-Forwarded-Proto: HTTPS",
        b"X-Forwarded-Host: public.example", b"X-Request-Id: abc-1", trusted=True,
    )  # fmt: skip
    assert fields.forwarded_for == (b"1.2.3.4", b"5.6.7.8")
    assert (fields.forwarded_proto, fields.forwarded_host) == (b"https", b"public.example")
    assert (fields.request_id, fields.kept) == (b"abc-1", b"")


def test_what_a_trusted_peer_says_badly_is_not_believed() -> None:
    fields = read(b"X-Forwarded-Proto: gopher", b"X-Forwarded-Host: a/b", b"X-Request-Id: a b\x80", trusted=True)
    assert (fields.forwarded_proto, fields.forwarded_host, fields.request_id) == (b"", b"", b"")


def test_an_untrusted_peer_does_not_choose_its_request_id() -> None:
    fields = read(b"X-Request-Id: mine", b"x_request_id: mine", b"X-Forwarded-For: 6.6.6.6")
    assert (fields.request_id, fields.kept, fields.forwarded_for) == (b"", b"", ())


@pytest.mark.parametrize("name", [b"X-Api-Key", b"x-api-key", b"X_API_KEY", b"x-Api_key"])
def test_every_spelling_of_a_withheld_field_is_handed_over(name: bytes) -> None:
    fields = read(name + b":  secret \t")
    assert fields.withheld == ((b"x-api-key", b"secret"),)
    assert fields.kept == b""


def test_a_withheld_field_is_handed_over_as_often_as_it_came() -> None:
    values = [value for _, value in read(b"X-Api-Key: 1", b"x_api_key: 2", b"X-Api-Key:").withheld]
    assert values == [b"1", b"2", b""]
    assert [value for _, value in read(b"X-Api-Key: 1", b"X-Api-Key: 1").withheld] == [b"1", b"1"]


def test_fields_that_connection_names_are_left_out() -> None:
    fields = read(b"Cookie: c", b"A_B: c", b"Other: d", b"Connection: keep-alive, COOKIE ,a-b,,", b"Connection: x")
    assert fields.kept == b"Other: d\r\n"
    assert fields.keep_alive


def test_connection_cannot_name_what_the_gateway_reads() -> None:
    fields = read(b"Connection: host, content-length, x-api-key", b"Content-Length: 5", b"X-Api-Key: s")
    assert (fields.host, fields.content_length, len(fields.withheld)) == (b"a", 5, 1)


@pytest.mark.parametrize(
    ("version", "lines", "keeps"),
    [
        (b"1", [], True),
        (b"1", [b"Connection: close"], False),
        (b"1", [b"Connection: Close , x"], False),
        (b"1", [b"Connection: keep-alive", b"Connection: close"], False),
        (b"1", [b"Connection: close", b"Connection: keep-alive"], False),
        (b"1", [b"Connection: closed"], True),
        (b"0", [], False),
        (b"0", [b"Connection: keep-alive"], True),
        (b"0", [b"Connection: close", b"Connection: keep-alive"], False),
        (b"0", [b"Connection: keep-alive, close"], False),
    ],
)
def test_how_long_a_connection_lives(version: bytes, lines: list[bytes], keeps: bool) -> None:
    assert read(*lines, version=version).keep_alive is keeps


@pytest.mark.parametrize(
    "value", [b"", b"+5", b"-5", b"0x5", b"5_0", b"5 0", b"5,5", b"5.0", b"\xb2", b"9" * 19, b"\x0b5", b"5;x"]
)
def test_a_length_is_one_plain_number(value: bytes) -> None:
    assert fault(b"Content-Length: " + value) in (Fault.BAD_FRAMING, Fault.MALFORMED)


def test_lengths_that_are_plain() -> None:
    assert read(b"Content-Length: 0").content_length == 0
    assert read(b"content-length:\t 007 ").content_length == 7
    assert read(b"Content-Length: " + b"9" * 18).content_length == 10**18 - 1


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"content-length: 5"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: chunked", b"transfer-encoding: chunked"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding:"],
        [b"Content_Length: 5"],
        [b"transfer_encoding: chunked"],
    ],
)
def test_there_is_one_framing_or_a_refusal(lines: list[bytes]) -> None:
    assert fault(*lines) in (Fault.BAD_FRAMING, Fault.UNKNOWN_CODING, Fault.MALFORMED)


def test_chunks_belong_to_http_1_1() -> None:
    assert read(b"Transfer-Encoding: Chunked").chunked
    assert fault(b"Transfer-Encoding: chunked", version=b"0") is Fault.BAD_FRAMING


@pytest.mark.parametrize("host", [b"", b"Host:", b"Host: a\r\nHost: a", b"Host: a b", b"Host: u@a", b"Host: a/b"])
def test_http_1_1_has_exactly_one_host(host: bytes) -> None:
    assert fault(host=host) is Fault.BAD_HOST


def test_http_1_0_may_do_without_a_host() -> None:
    assert read(version=b"0", host=b"").host == b""
    assert fault(version=b"0", host=b"Host: a\r\nhost: b") is Fault.BAD_HOST


def test_expectations() -> None:
    assert read(b"Expect: 100-Continue").expects_continue
    assert not read(b"Expect: 100-continue", version=b"0").expects_continue
    assert b"Expect" not in read(b"Expect: 100-continue").kept
    for value in (b"", b"x", b"100-continue, x"):
        assert fault(b"Expect: " + value) is Fault.UNKNOWN_EXPECTATION


@pytest.mark.parametrize(
    "line",
    [b"X : y", b"X\t: y", b" X: y", b"\tX: y", b": y", b":", b"X", b"X Y: z", b"X: \x00", b"X: a\rb", b"X: a\nb",
     b"X: \x7f", b"X\x80: y", b"X: a\r\n b", b"X: a\r\n\tb", b"X:\r\n b", b"X(: y", b'X": y', b"X: \x0b", b"X: \x1b"],
)  # fmt: skip
@pytest.mark.parametrize("first", [False, True])
def test_a_line_that_is_not_well_formed_is_refused_wherever_it_stands(line: bytes, first: bool) -> None:
    block = b"1\r\n%b\r\nHost: a\r\n\r\n" if first else b"1\r\nHost: a\r\n%b\r\n\r\n"
    with pytest.raises(WireError) as raised:
        READER.read(block % line)
    assert raised.value.fault in (Fault.MALFORMED, Fault.BAD_HOST)


def test_fields_are_counted_whether_they_repeat_or_not() -> None:
    reader = RequestHeadReader(max_fields=5)
    for lines in (b"".join(b"x%d: y\r\n" % i for i in range(4)), b"x: y\r\n" * 4):
        reader.read(b"1\r\nHost: a\r\n%b\r\n" % lines)
        with pytest.raises(WireError) as raised:
            reader.read(b"1\r\nHost: a\r\n%bz: y\r\n\r\n" % lines)
        assert raised.value.fault is Fault.HEAD_TOO_LARGE


def test_what_is_remembered_of_names_is_bounded() -> None:
    reader = RequestHeadReader(withheld=["X-Api-Key"])
    for i in range(5000):
        reader.read(b"1\r\nHost: a\r\nN%d: y\r\n\r\n" % i)
    assert max(map(len, reader._rules)) <= 2048
    for i in range(100):
        assert reader.read(b"1\r\nHost: a\r\n%b%d: y\r\n\r\n" % (b"N" * 64, i)).kept.endswith(b"%d: y\r\n" % i)
    assert max(map(len, [*reader._rules[0], *reader._rules[1]])) <= 64
    assert len(reader.read(b"1\r\nHost: a\r\nX-Api-Key: y\r\n\r\n").withheld) == 1


def test_trust_is_not_remembered_from_one_peer_to_another() -> None:
    line = b"X-Forwarded-For: 6.6.6.6"
    assert read(line, trusted=True).forwarded_for == (b"6.6.6.6",)
    assert read(line).forwarded_for == ()
    assert read(line, trusted=True).forwarded_for == (b"6.6.6.6",)


_names = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X", b"x_y", b"X-Api-Key", b"Content_Length",
     b"Expect", b"", b" X", b"X-Forwarded-For", b"Upgrade"]
)  # fmt: skip
_values = st.one_of(
    st.sampled_from([b"a", b"5", b"chunked", b"close", b"100-continue", b"", b"x, y", b"websocket", b"\x00", b"a\nb"]),
    st.binary(max_size=8),
)
_lines = st.lists(st.tuples(_names, _values).map(lambda line: b"%b: %b\r\n" % line), max_size=6).map(b"".join)


@given(st.one_of(_lines, st.binary(max_size=60)), st.sampled_from([b"0", b"1"]), st.booleans())
def test_arbitrary_fields_are_read_or_refused(lines: bytes, version: bytes, trusted: bool) -> None:
    block = version + b"\r\n" + lines.replace(b"\r\n\r\n", b"\r\n") + b"\r\n"
    if block.find(b"\r\n\r\n") != len(block) - 4:
        return  # a connection cuts its heads at the first empty line
    try:
        fields = READER.read(block, trusted=trusted)
    except WireError:
        return
    assert not (fields.chunked and fields.content_length >= 0)
    assert version == b"0" or fields.host
    kept = fields.kept.split(b"\r\n")
    assert kept.pop() == b""
    for line in kept:
        name, colon, value = line.partition(b": ")
        assert colon
        assert name.strip() == name != b""
        assert not set(value) & {0, 10, 13}
        plain = name.lower().replace(b"_", b"-")
        assert plain not in (b"host", b"content-length", b"transfer-encoding", b"connection", b"x-api-key", b"expect")


# A reader reads heads of names that it knows without llhttp, where they are plain. One that knows no names asks it.

_KNOWN = [
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Accept", b"x_y", b"X-Api-Key", b"Expect",
    b"X-Forwarded-For", b"Forwarded", b"X-Request-Id", b"Upgrade", b"Authorization", b"traceparent", b"tracestate",
    b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Origin", b"X-Keystile-Account", b"TE", b"X-Forwarded-Host",
]  # fmt: skip
_TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _readers() -> Iterator[Callable[[], RequestHeadReader]]:
    for trace in get_args(Literal["off", "pass", "begin"]):
        for forwarded in (False, True):
            yield partial(RequestHeadReader, withheld=["X-Api-Key"], max_fields=9, trace=trace,
                          believes_forwarded=forwarded)  # fmt: skip


def _knowing(make: Callable[[], RequestHeadReader]) -> RequestHeadReader:
    """A reader that has passed every name of ``_KNOWN``, from clients and from proxies."""
    reader = make()
    values = {b"Host": b"a", b"Content-Length": b"0", b"Transfer-Encoding": b"chunked", b"Expect": b"100-continue"}
    for name in _KNOWN:
        more = b"" if name == b"Host" else b"Host: a\r\n"
        for trusted in (False, True):
            reader.read(b"1\r\n%b%b: %b\r\n\r\n" % (more, name, values.get(name, b"x")), trusted=trusted)
    return reader


_READERS = [(make, _knowing(make)) for make in _readers()]


def _said(reader: RequestHeadReader, block: bytes, trusted: bool, last: RequestFields | None = None) -> object:
    try:
        fields = reader.read(block, trusted=trusted, last=last)
    except WireError as error:
        return error.fault, error.detail
    trace = fields.trace and (fields.trace.traceparent, fields.trace.tracestate)
    others = set(attributes(RequestFields)) - {"presented", "reading", "trace"}
    return [trace, *(getattr(fields, name) for name in sorted(others))]


def _agree(block: bytes) -> None:
    for make, knowing in _READERS:
        for trusted in (False, True):
            assert _said(knowing, block, trusted) == _said(make(), block, trusted), (block, trusted)


_plain_values = st.sampled_from(
    [b"a", b"a:80", b"5", b"0", b"007", b"+5", b"5, 5", b"chunked", b"gzip, chunked", b"close", b"keep-alive, accept",
     b"100-continue", b"", b" ", b"a ", b" a", b"\ta", b"a: b", b":", b"a\tb", b"a\x00b", b"a\rb", b"a\nb", b"\xe9",
     b"\x7f", b"a\r\n b", b"a\r\nX", b"9" * 19, b"websocket", b"upgrade", b"13", _TRACEPARENT, b"1.2.3.4", b"for=1"]
)  # fmt: skip
_known_names = st.sampled_from([*_KNOWN, b"", b" Host", b"Host ", b"host", b"Content_Length", b"New", b"a b", b"\xe9"])
_colons = st.sampled_from([b": ", b": ", b": ", b":", b":  ", b" : ", b"", b":\t"])
_known_lines = st.lists(st.tuples(_known_names, _colons, _plain_values).map(b"".join), max_size=10)


@given(_known_lines, st.sampled_from([b"0", b"1"]), st.booleans())
def test_what_is_read_without_llhttp_is_what_it_says(lines: list[bytes], version: bytes, host: bool) -> None:
    block = b"\r\n".join([version, *([b"Host: a"] if host else []), *lines, b"", b""])
    if block.find(b"\r\n\r\n") == len(block) - 4:  # a connection cuts its heads at the first empty line
        _agree(block)


@given(st.data())
def test_a_changed_byte_is_seen_by_both(data: st.DataObject) -> None:
    block = bytearray(b"1\r\nHost: a\r\nAccept: */*\r\nX-Api-Key: ABC\r\nConnection: keep-alive\r\n"
                      b"traceparent: " + _TRACEPARENT + b"\r\n\r\n")  # fmt: skip
    at = data.draw(st.integers(3, len(block) - 5))  # the line that a connection has read stands before them
    block[at : at + data.draw(st.integers(0, 1))] = data.draw(st.binary(min_size=1, max_size=1))
    if block.find(b"\r\n\r\n") == len(block) - 4:
        _agree(bytes(block))


_common_lines = st.sampled_from(
    [b"Host: a", b"Accept: a", b"Accept: b", b"X-Api-Key: a", b"Connection: close", b"Connection: keep-alive, accept",
     b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=1.2.3.4",
     b"traceparent: " + _TRACEPARENT, b"tracestate: a=1"]
)  # fmt: skip
_some_lines = st.lists(_common_lines | st.tuples(_known_names, _colons, _plain_values).map(b"".join), max_size=8)


@given(_some_lines, st.lists(st.tuples(st.integers(0, 7), st.none() | _common_lines | _known_lines.map(b"".join))),
       st.sampled_from([b"0", b"1"]), st.sampled_from([b"0", b"1"]))  # fmt: skip
def test_what_the_last_head_said_changes_nothing(
    lines: list[bytes], changes: list[tuple[int, bytes | None]], version: bytes, next_version: bytes
) -> None:
    """A head that follows another on its connection, and differs from it in some lines."""
    block = b"\r\n".join([version, *lines, b"", b""])
    for at, line in changes:
        lines[at : at + 1] = [] if line is None else [line]
    following = b"\r\n".join([next_version, *lines, b"", b""])
    if any(each.find(b"\r\n\r\n") != len(each) - 4 for each in (block, following)):
        return
    for make, knowing in _READERS:
        for trusted, trusted_next in product((False, True), repeat=2):
            with suppress(WireError):
                last = knowing.read(block, trusted=trusted)
                said = _said(knowing, following, trusted_next, last)
                assert said == _said(make(), following, trusted_next), (block, following)


@pytest.mark.parametrize("place", [b"%b", b"a%b", b"%ba", b"a%bb", b"a: %bb"])
def test_every_byte_of_a_value_is_looked_at_alone_and_after_another_head(place: bytes) -> None:
    _, knowing = _READERS[0]
    head = b"1\r\nHost: a\r\nAccept: %b\r\nX-Api-Key: y\r\n\r\n"
    last = knowing.read(head % b"c")
    assert last.reading is not None
    for byte in range(256):
        for value in (place % bytes([byte]), place % bytes([byte, byte])):
            block = head % value
            if block.find(b"\r\n\r\n") == len(block) - 4:
                _agree(block)
                assert _said(knowing, block, False, last) == _said(_READERS[0][0](), block, False), block


def test_lines_that_stay_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _, knowing = _READERS[2]
    head = b"1\r\nHost: a\r\nAccept: %b\r\nX-Api-Key: y\r\n\r\n"
    last = knowing.read(head % b"b")
    assert last.reading is not None
    monkeypatch.setattr(last.reading, "of", [last.reading.of[0], None, None])  # as if a key were a field like any other
    after = knowing.read(head % b"c", last=last)
    assert (after.host, after.withheld, after.kept) == (b"a", (), b"Accept: c\r\nX-Api-Key: y\r\n")
    longer = knowing.read(b"1\r\nHost: a\r\nAccept: c\r\nX-Api-Key: y\r\nConnection: close\r\n\r\n", last=last)
    assert longer.withheld
    assert longer.named


@pytest.mark.parametrize("strange", [b"", b"\xe9"])
@pytest.mark.parametrize(
    ("line", "next_line", "same"),
    [
        (b"X-Api-Key: a", b"X-Api-Key: a", True),
        (b"X-Api-Key: a", b"x-api-key:a", True),
        (b"X-Api-Key: a", b"X-Api-Key: b", False),
        (b"X-Api-Key: a", b"X-Api-Key: a\r\nX-Api-Key: a", False),
        (b"X-Api-Key: a", b"Accept: a", False),
        (b"Authorization: a", b"Authorization: a", True),
        (b"Authorization: a", b"Authorization: b", False),
        (b"Authorization: a", b"X-Api-Key: a", False),
        (b"Accept: a", b"Accept: b", True),
    ],
)
def test_what_was_presented_stays_while_it_is_the_same(
    line: bytes, next_line: bytes, same: bool, strange: bytes
) -> None:
    _, knowing = _READERS[2]
    head = b"1\r\nHost: a\r\n%b\r\nAccept: %b\r\n\r\n"
    last = knowing.read(head % (line, b"1"))
    last.presented = "derived"
    assert (knowing.read(head % (next_line, b"2" + strange), last=last).presented == "derived") == same


def test_another_readers_lines_are_looked_at_again() -> None:
    """The next configuration may withhold what this one passes on; and who is trusted is asked for others."""
    head = b"1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Api-Key: y\r\n\r\n"
    other = RequestHeadReader(withheld=["X-Other"])
    last = _READERS[0][1].read(head, trusted=True)
    for reader in (other, _READERS[0][1]):
        for _ in range(2):  # at first names are new to it
            assert reader.read(head, last=last).forwarded_for == ()
    assert other.read(head, last=last).withheld == ()


@pytest.mark.source_only("it replaces a function of the module")
def test_a_plain_head_of_known_names_is_not_given_to_llhttp(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    monkeypatch.setattr(request_head, "_feed", lambda block, _: asked.append(block))
    plain = b"1\r\nHost: a\r\nAccept: */*\r\nX-Api-Key: y\r\ntraceparent: " + _TRACEPARENT + b"\r\n\r\n"
    _, knowing = _READERS[2]  # which passes traces on
    assert knowing.read(plain).kept == plain[3:-2].replace(b"Host: a\r\n", b"").replace(b"X-Api-Key: y\r\n", b"")
    assert not asked
    with pytest.raises(WireError):
        knowing.read(plain.replace(b"Accept", b"Unheard-Of"))
    assert asked


def test_a_long_head_says_the_same_on_either_side_of_the_bound() -> None:
    for size in range(4050, 4100):
        _agree(b"1\r\nHost: a\r\nAccept: %b\r\n\r\n" % (b"x" * size))


def test_a_path_is_the_target() -> None:
    for target in (b"/", b"/a?b", b"//a", b"/http://b/"):
        assert origin_form(target, b"a") == target


def test_absolute_form_becomes_a_path() -> None:
    assert origin_form(b"http://A.example:80/b?c", b"a.example:80") == b"/b?c"
    assert origin_form(b"https://a", b"a") == b"/"


@pytest.mark.parametrize(
    "target",
    [b"*", b"a:443", b"a", b"http://b/", b"http://u@a/", b"http://a:80/", b"ftp://a/", b"http:///", b"http://a?b"],
)
def test_other_forms_are_refused(target: bytes) -> None:
    with pytest.raises(WireError) as raised:
        origin_form(target, b"a")
    assert raised.value.fault is Fault.BAD_TARGET
