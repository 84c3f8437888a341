"""PROXY protocol headers: what the specification allows, and nothing else, in any split."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keystile.wire.peer import unmapped
from keystile.wire.proxy_protocol import (
    MAX_V1,
    MAX_V2,
    V2_START,
    BadProxyHeader,
    ProxyHeader,
    read_proxy_header,
)
from tests.wire.proxy_headers import RIGHT, V4, WRONG, tlv, v2, with_checksum
from tests.wire.splitting import in_pieces, splits

_right = pytest.mark.parametrize(("header", "address"), [row[1:] for row in RIGHT], ids=[row[0] for row in RIGHT])
_wrong = pytest.mark.parametrize("header", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])


def outcome(pieces: list[bytes]) -> ProxyHeader | str | None:
    """What comes out of the bytes as they come in: the header, ``bad``, or None where more is needed."""
    held = b""
    for piece in pieces:
        held += piece
        try:
            header = read_proxy_header(held)
        except BadProxyHeader:
            return "bad"
        if header is not None:
            return header
    return None


@_right
def test_what_the_specification_allows_is_read(header: bytes, address: str | None) -> None:
    found = read_proxy_header(header)
    assert found is not None
    assert found.size == len(header)
    assert (str(found.source) if found.source else None) == address


@_right
@pytest.mark.parametrize("behind", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00\xa5", b"\r\n", b"PROXY UNKNOWN\r\n"])
def test_what_follows_a_header_is_not_part_of_it(header: bytes, address: str | None, behind: bytes) -> None:
    assert read_proxy_header(header + behind) == read_proxy_header(header)


@_right
def test_no_part_of_a_header_is_taken_for_a_whole_one(header: bytes, address: str | None) -> None:
    for end in range(len(header)):
        assert read_proxy_header(header[:end]) is None


@_wrong
def test_what_the_specification_forbids_is_refused(header: bytes) -> None:
    assert outcome([header]) == "bad"
    assert outcome([header + b"GET / HTTP/1.1\r\n\r\n"]) == "bad"
    assert outcome(in_pieces(header, [0] * 12)) == "bad"


def test_no_more_is_waited_for_than_a_header_may_have() -> None:
    assert read_proxy_header(b"PROXY UNKNOWN " + b"f" * (MAX_V1 - 15)) is None
    assert outcome([b"PROXY UNKNOWN " + b"f" * (MAX_V1 - 14)]) == "bad"
    assert read_proxy_header(v2(0x21, 0x11, V4, length=MAX_V2 - 16)) is None
    assert outcome([v2(0x21, 0x11, V4, length=MAX_V2 - 15)]) == "bad"


def test_what_can_never_become_a_header_is_refused_at_once() -> None:
    assert outcome([b"G"]) == "bad"
    assert outcome([b"PU"]) == "bad"
    assert outcome([b"\r\n\r\nx"]) == "bad"
    assert outcome([V2_START + b"\x22"]) == "bad"
    assert outcome([V2_START + b"\x21\x41\x00\x00"]) == "bad"


_pieces_of_headers = st.sampled_from(
    [b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"1.2.3.4 ", b"::1 ", b"0 ", b"65535", b"\r\n", b"\r", b"\n", b" ",
     V2_START, b"\x21", b"\x20", b"\x11", b"\x21\x00\x24", b"\x00\x0c", V4, b"\x03\x00\x04", b"GET / HTTP/1.1\r\n"]
)  # fmt: skip


@given(st.lists(st.one_of(_pieces_of_headers, st.binary(max_size=20)), max_size=10).map(b"".join), splits)
def test_any_bytes_mean_the_same_in_every_split_and_nothing_else_is_raised(data: bytes, cuts: list[int]) -> None:
    whole, pieces = outcome([data]), outcome(in_pieces(data, cuts))
    assert pieces == whole
    if isinstance(whole, ProxyHeader):
        assert 0 < whole.size <= len(data)
        assert read_proxy_header(data[: whole.size]) == whole
        assert read_proxy_header(data[: whole.size - 1]) is None


@given(st.ip_addresses(), st.integers(0, 65535), st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=40))))
def test_every_address_is_read_in_both_versions(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, tlvs: list[tuple[int, bytes]]
) -> None:
    line = f"PROXY TCP{ip.version} {ip} {ip} {port} {port}\r\n".encode()
    found = read_proxy_header(line)
    assert found == ProxyHeader(unmapped(ip), len(line))
    block = ip.packed * 2 + struct.pack("!HH", port, port) + b"".join(tlv(*each) for each in tlvs)
    family = 0x11 if ip.version == 4 else 0x21
    binary = v2(0x21, family, block)
    assert read_proxy_header(binary) == ProxyHeader(unmapped(ip), len(binary))


@given(st.integers(0, 16 + len(V4) + 7 - 1), st.integers(1, 255))
@example(14, 0xFF)
def test_a_header_with_a_checksum_bears_no_changed_byte(at: int, change: int) -> None:
    header = bytearray(with_checksum())
    header[at] ^= change
    found = outcome([bytes(header)])
    # It is refused, or waits for bytes that never come, or has become a LOCAL one, whose block means nothing,
    # or its checksum's own type or length has gone: then it has none.
    checksum_left = header[28:31] == b"\x03\x00\x04"
    assert found in ("bad", None) or header[12] == 0x20 or not checksum_left
