"""The opening handshake of WebSocket: what is asked for, what is wrong with it, what grants it."""

from __future__ import annotations

import pytest

from keystile.wire import websocket
from keystile.wire.answer_head import read_answer_head
from keystile.wire.request_fields import RequestFields
from keystile.wire.request_head import RequestHeadReader

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
ASKS = (b"Connection: Upgrade", b"Upgrade: websocket")
WHOLE = (*ASKS, b"Sec-WebSocket-Key: " + KEY, b"Sec-WebSocket-Version: 13")


def fields_of(*lines: bytes, version: bytes = b"1") -> RequestFields:
    block = version + b"\r\n" + b"".join(line + b"\r\n" for line in (b"Host: a", *lines)) + b"\r\n"
    return RequestHeadReader().read(block)


def test_the_standards_own_example_is_right() -> None:
    fields = fields_of(*WHOLE)
    assert websocket.is_asked_for(fields)
    assert websocket.fault_of(b"GET", fields) is None
    assert websocket.knows_version(fields)
    assert websocket.accept_for(KEY) == ACCEPT


@pytest.mark.parametrize(
    "lines",
    [
        (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"),
        (b"connection: UPGRADE", b"upgrade: WebSocket"),
        (b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: websocket"),
        (b"Connection: Upgrade", b"Upgrade:,websocket"),
        (b"Connection: Upgrade", b"Upgrade: , websocket ,\t,"),
        (b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: "),
    ],
)
def test_it_is_asked_for_in_any_case_and_beside_other_options(lines: tuple[bytes, ...]) -> None:
    assert websocket.is_asked_for(fields_of(*lines))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"Upgrade: websocket",),
        (b"Connection: Upgrade",),
        (b"Connection: close", b"Upgrade: websocket"),
        (b"Connection: Upgrade", b"Upgrade: h2c"),
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        (b"Connection: Upgrade", b"Upgrade: h2c, websocket"),
        (b"Connection: Upgrade", b"Upgrade: websocket, h2c"),
        (b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: websocket"),
        (b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade: websocket"),
        (b"Connection: Upgrade", b"Upgrade: websocket/13"),
        (b"Connection: Upgrade", b"Upgrade:"),
        (b"Connection: Upgrade", b"X-Upgrade: websocket"),
    ],
)
def test_what_does_not_ask_in_so_many_words_is_an_ordinary_request(lines: tuple[bytes, ...]) -> None:
    assert not websocket.is_asked_for(fields_of(*lines))


def test_a_request_of_http_1_0_cannot_ask() -> None:
    assert not websocket.is_asked_for(fields_of(*WHOLE, version=b"0"))


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PUT"])
def test_no_other_method_than_get_opens_one(method: bytes) -> None:
    assert websocket.fault_of(method, fields_of(*WHOLE)) is not None


@pytest.mark.parametrize(
    "lines",
    [
        (*WHOLE, b"Content-Length: 5"),
        (*WHOLE, b"Transfer-Encoding: chunked"),
        (*WHOLE, b"Expect: 100-continue"),
        (*ASKS, b"Sec-WebSocket-Version: 13"),
        (*ASKS, b"Sec-WebSocket-Key: " + KEY),
        (*WHOLE, b"Sec-WebSocket-Key: " + KEY),
        (*WHOLE, b"Sec_WebSocket_Key: " + KEY),
        (*WHOLE, b"Sec-WebSocket-Version: 13"),
        (*WHOLE, b"sec-websocket_version: 8"),
        (*WHOLE[:3], b"Sec-WebSocket-Versions: 13"),
        (*ASKS, WHOLE[3], b"Sec-WebSocket-Key:"),
        (*ASKS, WHOLE[3], b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"),
        (*ASKS, WHOLE[3], b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="),
        (*ASKS, WHOLE[3], b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="),
        (*ASKS, WHOLE[3], b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQdGhlIHNhbXBsZQ=="),
        (*ASKS, WHOLE[3], b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-_=="),
        (*ASKS, WHOLE[3], b"Sec-WebSocket-Key: !@#$"),
        (*WHOLE, b"Connection: Sec-WebSocket-Key"),
        (*WHOLE, b"Connection: Sec_WebSocket_Version"),
    ],
)
def test_a_handshake_that_is_not_whole_has_a_fault(lines: tuple[bytes, ...]) -> None:
    fields = fields_of(*lines)
    assert websocket.is_asked_for(fields)
    assert websocket.fault_of(b"GET", fields) is not None


@pytest.mark.parametrize("version", [b"8", b"0", b"013", b"13, 8", b"14", b"", b"x"])
def test_other_versions_are_not_known(version: bytes) -> None:
    fields = fields_of(*WHOLE[:3], b"Sec-WebSocket-Version: " + version)
    assert websocket.fault_of(b"GET", fields) is None
    assert not websocket.knows_version(fields)


def granted(*lines: bytes, start: bytes = b"HTTP/1.1 101 Switching Protocols") -> bool:
    head = b"\r\n".join([start, *lines, b"", b""])
    return websocket.is_granted(read_answer_head(head, to_head=False), fields_of(*WHOLE))


PROOF = b"Sec-WebSocket-Accept: " + ACCEPT


def test_a_101_that_says_all_it_must_grants_it() -> None:
    assert granted(*ASKS, PROOF)
    assert granted(b"connection: keep-alive, upgrade", b"UPGRADE: WebSocket", b"sec-websocket-accept:" + ACCEPT)
    assert granted(*ASKS, PROOF, b"Sec-WebSocket-Protocol: chat", b"Content-Length: 0")


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (PROOF,),
        ASKS,
        (ASKS[0], PROOF),
        (ASKS[1], PROOF),
        (b"Connection: keep-alive", ASKS[1], PROOF),
        (ASKS[0], b"Upgrade: h2c", PROOF),
        (ASKS[0], b"Upgrade: websocket, h2c", PROOF),
        (*ASKS, b"Upgrade: websocket", PROOF),
        (*ASKS, PROOF, PROOF),
        (*ASKS, PROOF, b"Sec-WebSocket-Accept: other"),
        (*ASKS, b"Sec-WebSocket-Accept: " + KEY),
        (*ASKS, b"Sec-WebSocket-Accept: " + ACCEPT.lower()),
        (*ASKS, b"Sec-WebSocket-Accept: " + ACCEPT + b" x"),
        (*ASKS, b"Sec-WebSocket-Accept:"),
        (*ASKS, b"X-Sec-WebSocket-Accept: " + ACCEPT),
        (b"Connection: Upgrade, Sec-WebSocket-Accept", ASKS[1], PROOF),
    ],
)
def test_a_101_that_leaves_something_open_grants_nothing(lines: tuple[bytes, ...]) -> None:
    assert not granted(*lines)


def test_a_101_of_http_1_0_grants_nothing() -> None:
    assert not granted(*ASKS, PROOF, start=b"HTTP/1.0 101 Switching Protocols")


def test_only_a_101_has_its_upgrade_remembered() -> None:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", *ASKS, PROOF, b"Content-Length: 0", b"", b""])
    assert read_answer_head(head, to_head=False).upgrade == b""
