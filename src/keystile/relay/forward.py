"""The heads that are sent: what of a message goes on, and what the gateway adds (RFC 9110 §7.6).

Law: bytes in, bytes out. Lines that were read strictly are copied; framing,
identity and Via are the gateway's own, on public routes too.
"""

from __future__ import annotations

import re
from typing import Final

from keystile.keys.keyring import HeldKey
from keystile.relay.admit import Note
from keystile.relay.cors import PREFIX
from keystile.relay.upstreams import UpstreamGroup
from keystile.wire.peer import Peer
from keystile.wire.request_head import RequestFields

VIA_REQUEST: Final = (b"Via: 1.0 keystile\r\n", b"Via: 1.1 keystile\r\n")
VIA_ANSWER: Final = b"Via: 1.1 keystile\r\n"

_CORS_LINES: Final = re.compile(rb"(?i)(?<=\r\n)" + PREFIX + rb"[^\r]*\r\n")


def request_block(
    note: Note, fields: RequestFields, socket_peer: Peer, key: HeldKey | None, upstream: UpstreamGroup
) -> bytes:
    """The field lines for the upstream, but for X-Request-Id; remembered for the next head with the same fields."""
    if note.block_upstream is upstream and note.block_key is key and note.block:
        return note.block
    host = fields.host if upstream.preserves_host and fields.host else upstream.host_field
    block = b"".join(
        (
            b"Host: %b\r\n" % host,
            fields.kept,
            _framing(fields),
            _forwarded(fields, socket_peer),
            _identity(key),
            VIA_REQUEST[fields.minor_version],
        )
    )
    note.block, note.block_upstream, note.block_key = block, upstream, key
    return block


def _framing(fields: RequestFields) -> bytes:
    if fields.chunked:
        return b"Transfer-Encoding: chunked\r\n"
    return b"Content-Length: %d\r\n" % fields.content_length if fields.content_length >= 0 else b""


def _forwarded(fields: RequestFields, socket_peer: Peer) -> bytes:
    addresses = b", ".join([*fields.forwarded_for, socket_peer.text.encode("ascii")])
    host = fields.forwarded_host or fields.host
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n%b" % (
        addresses,
        fields.forwarded_proto or (b"https" if socket_peer.tls else b"http"),
        b"X-Forwarded-Host: %b\r\n" % host if host else b"",
    )


def _identity(key: HeldKey | None) -> bytes:
    if key is None:
        return b""
    text = (
        f"X-Keystile-Account: {key.account}\r\nX-Keystile-Key: {key.id}\r\n"
        f"X-Keystile-Scopes: {', '.join(sorted(key.scopes))}\r\n"
    )
    return text.encode("ascii")


def without_cors(start: bytes) -> bytes:
    """An answer's start without Access-Control-* lines: the gateway's policy replaces the upstream's."""
    return _CORS_LINES.sub(b"", start)
