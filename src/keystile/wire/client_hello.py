"""What a client says first: a ClientHello out of TLS records, before any context is chosen.

Law: bytes in, one of three out: a hello, "more is needed", or what it is instead. It never decides. Whatever it
reads, OpenSSL reads the same bytes again and has the last word, so a hello that this reads wrongly can be
refused and never let in.

RFC 8446 sections 4.1.2, 4.2.1 and 5.1; RFC 6066 section 3 (names); RFC 5246 appendix E.2 (SSL 2.0 framing).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from keystile.wire.tls_policy import Version

#: Bytes of records in which a hello must be complete. Hellos with post-quantum keys have about 2 KiB.
MAX_HELLO: Final = 32 * 1024

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_MAX_RECORD: Final = 16 * 1024
_SERVER_NAME, _SUPPORTED_VERSIONS = 0, 43
_KIND_AND_SIZE: Final = struct.Struct(">HH")
_METHODS: Final = tuple(
    method + b" " for method in b"GET POST PUT DELETE HEAD OPTIONS PATCH CONNECT TRACE PRI".split()
)
_NEWEST_FIRST: Final = tuple((int(version), version) for version in sorted(Version, reverse=True))
_KNOWN: Final = dict(_NEWEST_FIRST)


class Instead(Enum):
    """What came in place of a ClientHello."""

    HTTP = auto()
    GARBAGE = auto()


class BadHello(Exception):
    """These bytes do not begin with a ClientHello; ``kind`` says what they are."""

    def __init__(self, kind: Instead) -> None:
        super().__init__(f"no ClientHello but {kind.name.lower()}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ClientHello:
    """``offered``: the known versions it names, highest first; without ``supported_versions`` the one it names as
    its highest. ``server_name`` in lower case."""

    offered: tuple[Version, ...]
    server_name: str | None

    @property
    def highest(self) -> Version | None:
        """The newest version it can speak; None where it offers none that we know."""
        return self.offered[0] if self.offered else None


class _Short(Exception):
    """A length points behind the end."""


class _Reader:
    """Bytes with a place in them; every length is checked. Raises ``_Short``."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, count: int) -> bytes:
        end = self._place + count
        if end > len(self._data):
            raise _Short
        taken, self._place = self._data[self._place : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        """Bytes behind their length, which has ``size`` bytes itself."""
        return self.take(self.number(size))

    def more(self) -> bool:
        return self._place < len(self._data)


def read_client_hello(data: bytes) -> ClientHello | None:
    """The hello at the beginning of ``data``; None while more is needed. Raises ``BadHello``."""
    hello = _read(data)
    if hello is None and len(data) >= MAX_HELLO:
        raise BadHello(Instead.GARBAGE)
    return hello


def _read(data: bytes) -> ClientHello | None:
    if not data:
        return None
    try:
        if data[0] == _HANDSHAKE:
            message = _message(data)
            return None if message is None else _hello(message)
        if data[0] & 0x80:
            return _ssl_2_hello(data)
    except _Short:
        raise BadHello(Instead.GARBAGE) from None
    if any(data.startswith(method) for method in _METHODS):
        raise BadHello(Instead.HTTP)
    if any(method.startswith(data) for method in _METHODS):
        return None
    raise BadHello(Instead.GARBAGE)


def _message(data: bytes) -> bytes | None:
    """The body of the handshake message, which may be split over records at any byte; None while it is incomplete."""
    message = bytearray()
    place = 0
    while place < len(data):
        head = data[place : place + 5]
        # What has come of a record's head must be right already: nobody waits for the rest of garbage.
        if head[0] != _HANDSHAKE or head[1:2] not in (b"", b"\x03"):
            raise _Short
        if len(head) < 5:
            break
        size = int.from_bytes(head[3:5], "big")
        if not 0 < size <= _MAX_RECORD:
            raise _Short
        message += data[place + 5 : place + 5 + size]
        place += 5 + size
        if message and message[0] != _CLIENT_HELLO:
            raise _Short
        if len(message) >= 4:
            whole = 4 + int.from_bytes(message[1:4], "big")
            if whole > MAX_HELLO:
                raise _Short
            if len(message) >= whole:
                return bytes(message[4:whole])
    return None


def _hello(body: bytes) -> ClientHello:
    reader = _Reader(body)
    version = reader.number(2)
    reader.take(32)
    reader.block(1)  # session id
    ciphers = reader.block(2)
    reader.block(1)  # compression
    extensions = _extensions(reader.block(2)) if reader.more() else {}
    if reader.more() or len(ciphers) % 2:
        raise _Short
    supported = extensions.get(_SUPPORTED_VERSIONS)
    name = extensions.get(_SERVER_NAME)
    return ClientHello(
        _legacy_version(version) if supported is None else _versions(supported),
        None if name is None else _name(name),
    )


def _extensions(block: bytes) -> dict[int, bytes]:
    """By kind. Without the reader: a hello has a dozen, and each would cost six calls."""
    found: dict[int, bytes] = {}
    place, end = 0, len(block)
    while place < end:
        if place + 4 > end:
            raise _Short
        kind, size = _KIND_AND_SIZE.unpack_from(block, place)
        if kind in found:  # RFC 8446 section 4.2: at most one of each
            raise _Short
        place += 4 + size
        found[kind] = block[place - size : place]
    if place > end:
        raise _Short
    return found


def _legacy_version(number: int) -> tuple[Version, ...]:
    """RFC 8446 section 4.2.1: without ``supported_versions`` nothing above 1.2 is agreed on."""
    capped = min(number, int(Version.TLS_1_2))
    return (_KNOWN[capped],) if capped in _KNOWN else ()


def _versions(extension: bytes) -> tuple[Version, ...]:
    reader = _Reader(extension)
    block = reader.block(1)
    if reader.more() or len(block) % 2:
        raise _Short
    named = struct.unpack(f">{len(block) // 2}H", block)
    return tuple([version for number, version in _NEWEST_FIRST if number in named])


def _name(extension: bytes) -> str | None:
    """The first host name; names that are no ASCII, or hold a NUL, are none that a certificate has."""
    outer = _Reader(extension)
    reader = _Reader(outer.block(2))
    if outer.more() or not reader.more():
        raise _Short
    kind, name = reader.number(1), reader.block(2)
    if kind != 0 or not name.isascii() or not name or b"\0" in name:
        raise _Short
    return name.decode("ascii").lower()


def _ssl_2_hello(data: bytes) -> ClientHello | None:
    """SSL 2.0 framing, in which clients of its time offered SSL 3.0 and TLS 1.0 as well."""
    if data[2:3] not in (b"", b"\x01") or data[3:4] not in (b"", b"\x00", b"\x03"):
        raise _Short
    if len(data) < 2:
        return None
    size = int.from_bytes(data[:2], "big") & 0x7FFF
    if size < 9 or size > MAX_HELLO - 2:
        raise _Short
    if len(data) < 2 + size:
        return None
    reader = _Reader(data[2 : 2 + size])
    reader.take(1)
    version, ciphers, session, challenge = (reader.number(2) for _ in range(4))
    reader.take(ciphers + session + challenge)
    if reader.more() or ciphers % 3:
        raise _Short
    return ClientHello(_legacy_version(version), None)
