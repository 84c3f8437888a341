"""Hellos of real clients, whole and in pieces, and bytes that are none."""

from __future__ import annotations

import ssl
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire.client_hello import MAX_HELLO, BadHello, ClientHello, Instead, read_client_hello
from keystile.wire.tls_policy import Version


def hello(name: str | None = "A.Example", best: ssl.TLSVersion | None = None, alpn: bool = True) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if best is not None:
        context.maximum_version = best
    if alpn:
        context.set_alpn_protocols(["http/1.1"])
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


HELLO = hello()
SSL_2 = bytes([0x80, 9 + 3 + 32, 1, 3, 1, 0, 3, 0, 0, 0, 32, 0, 0, 0x39]) + bytes(32)


def split(data: bytes, size: int) -> bytes:
    body = data[5:]
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def test_a_hello_says_its_versions_and_its_name() -> None:
    read = read_client_hello(HELLO)
    assert read is not None
    assert (read.offered, read.server_name) == ((Version.TLS_1_3, Version.TLS_1_2), "a.example")


def test_an_older_hello_says_its_highest() -> None:
    read = read_client_hello(hello(None, ssl.TLSVersion.TLSv1_2, alpn=False))
    assert read is not None
    assert (read.offered, read.highest, read.server_name) == ((Version.TLS_1_2,), Version.TLS_1_2, None)


def test_byte_by_byte_it_is_whole_only_at_its_last() -> None:
    for data in (HELLO, split(HELLO, 100), split(HELLO, 1), SSL_2):
        assert all(read_client_hello(data[:end]) is None for end in range(len(data)))
        assert read_client_hello(data) is not None
    assert read_client_hello(split(HELLO, 7)) == read_client_hello(HELLO + b"what follows")


def test_ssl_2_framing_is_an_old_client() -> None:
    assert read_client_hello(SSL_2) == ClientHello((Version.TLS_1_0,), None)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1", b"PRI * HTTP/2.0"])
def test_plain_http_is_known_at_its_first_word(data: bytes) -> None:
    word = data.index(b" ") + 1
    assert all(read_client_hello(data[:end]) is None for end in range(word))
    with pytest.raises(BadHello) as raised:
        read_client_hello(data[:word])
    assert raised.value.kind is Instead.HTTP


@pytest.mark.parametrize(
    "data",
    [b"\0", b"GOT ", b"SSH-2.0", b"\x16\x02", b"\x16\x03\x01\0\0", b"\x16\x03\x01\xff\xff", b"\x80\x09\x07",
     b"\x15\x03\x01\0\x02", b"\x16\x03\x01\0\x04\x02\0\0\0", b"\x16\x03\x01\0\x04\x01\xff\xff\xff",
     HELLO.replace(b"\x00\x0e\x00\x0c\x00\x00\x09", b"\x00\x0e\x00\x0c\x00\x00\x0a")],
)  # fmt: skip
def test_garbage_is_known_without_waiting_for_more(data: bytes) -> None:
    with pytest.raises(BadHello) as raised:
        read_client_hello(data)
    assert raised.value.kind is Instead.GARBAGE


def with_extensions(extensions: bytes) -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize(
    ("extensions", "is_one"),
    [
        (b"", True),
        (b"\0\x2b\0\x03\x02\x03\x04", True),
        (b"\0\x2b\0\x03\x02\x03\x04\0\x10\0\0", True),
        (b"\0\x2b\0\x04\x02\x03\x04", False),  # longer than what is there
        (b"\0\x2b\0\x03\x02\x03\x04\0\x10\0", False),  # the last one has half a length
        (b"\0\x2b\0\x03\x02\x03\x04\0", False),
        (b"\0\x2b\0\x03\x02\x03\x04" * 2, False),  # twice (RFC 8446 section 4.2)
        (b"\0\x10\0\0" * 2, False),
        (b"\0\x2b\0\x04\x03\x03\x04\0", False),  # half a version
    ],
)
def test_extensions_end_where_they_say_and_stand_once(extensions: bytes, is_one: bool) -> None:
    data = with_extensions(extensions)
    if is_one:
        assert read_client_hello(data) is not None
        return
    with pytest.raises(BadHello):
        read_client_hello(data)


def test_a_hello_that_never_ends_is_garbage() -> None:
    part = b"\x16\x03\x01\x00\x04\x01\x00\x7f\x00" + b"\x16\x03\x01\x00\x01a" * MAX_HELLO
    assert read_client_hello(part[: MAX_HELLO - 1]) is None
    with pytest.raises(BadHello):
        read_client_hello(part[:MAX_HELLO])


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda each: b"\x16\x03\x01" + each))
def test_any_bytes_are_a_hello_or_more_or_bad(data: bytes) -> None:
    with suppress(BadHello):
        read_client_hello(data)


def test_20_000_changed_hellos_are_a_hello_or_more_or_bad() -> None:
    random = Random(7)
    whole = 0
    for _ in range(20_000):
        data = bytearray(HELLO)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        end = random.choice((len(data), random.randrange(len(data))))
        with suppress(BadHello):
            whole += read_client_hello(bytes(data[:end])) is not None
    assert 0 < whole < 20_000
