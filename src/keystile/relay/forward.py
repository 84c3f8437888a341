"""The heads that are sent: what of a message goes on, and what the gateway adds (RFC 9110 §7.6).

Law: bytes in, bytes out. Lines that were read strictly are copied; framing,
identity and Via are the gateway's own, on public routes too.
"""

from __future__ import annotations

import re
from typing import Final

from keystile.keys.keyring import HeldKey
from keystile.relay.cors import PREFIX
from keystile.relay.credentials import Presented
from keystile.relay.upstreams import UpstreamGroup
from keystile.wire.peer import Peer
from keystile.wire.request_fields import RequestFields

VIA_REQUEST: Final = (b"Via: 1.0 keystile\r\n", b"Via: 1.1 keystile\r\n")
VIA_ANSWER: Final = b"Via: 1.1 keystile\r\n"

#: Sets of scopes whose line is remembered at once; then all are forgotten.
REMEMBERED_SCOPES: Final = 4096

_HSTS_LINES: Final = re.compile(rb"(?i)(?<=\r\n)strict-transport-security:[^\r]*\r\n")
_CORS_LINES: Final = re.compile(rb"(?i)(?<=\r\n)" + PREFIX + rb"[^\r]*\r\n")


class Identities:
    """The field lines that tell an upstream whose key admitted a request.

    What many keys share is remembered, and nothing for each key: 100,000 of them are to cost what 1,000 do.
    """

    def __init__(self) -> None:
        #: To put them in order is most of the work.
        self._scopes: dict[frozenset[str], bytes] = {}

    def lines(self, key: HeldKey) -> bytes:
        """The lines for ``key``."""
        named = f"X-Keystile-Account: {key.account}\r\nX-Keystile-Key: {key.id}\r\n".encode("ascii")
        return named + self._scopes_line(key.scopes)

    def _scopes_line(self, scopes: frozenset[str]) -> bytes:
        line = self._scopes.get(scopes)
        if line is None:
            if len(self._scopes) >= REMEMBERED_SCOPES:
                self._scopes.clear()
            line = self._scopes[scopes] = f"X-Keystile-Scopes: {', '.join(sorted(scopes))}\r\n".encode("ascii")
        return line


def caller_lines(presented: Presented, caller: Peer) -> bytes:
    """What only management is told of a caller: with which secret (its SHA-256) and from where, after all proxies.

    A key that manages others is asked again when the change is made, which may be long after it was admitted.
    """
    return b"X-Keystile-Presented: %b\r\nX-Keystile-Address: %b\r\n" % (
        presented.digest.hex().encode("ascii"),
        caller.text.encode("ascii"),
    )


def request_block(fields: RequestFields, socket_peer: Peer, identity: bytes, upstream: UpstreamGroup) -> bytes:
    """The field lines for the upstream, but for X-Request-Id."""
    host = fields.host
    forwarded = fields.forwarded_host or host
    return b"Host: %b\r\n%b%b%b%b%b%b" % (
        host if upstream.preserves_host and host else upstream.host_field,
        fields.kept,
        _framing(fields) if fields.chunked or fields.content_length >= 0 else b"",
        _forwarded_for(fields, socket_peer) if socket_peer.trusted else socket_peer.lines,
        b"X-Forwarded-Host: %b\r\n" % forwarded if forwarded else b"",
        identity,
        VIA_REQUEST[fields.minor_version],
    )


def _framing(fields: RequestFields) -> bytes:
    if fields.chunked:
        return b"Transfer-Encoding: chunked\r\n"
    return b"Content-Length: %d\r\n" % fields.content_length


def _forwarded_for(fields: RequestFields, proxy: Peer) -> bytes:
    """What a trusted proxy says of its client, and the proxy itself at the end."""
    addresses = b", ".join([*fields.forwarded_for, proxy.name])
    proto = fields.forwarded_proto or (b"https" if proxy.tls else b"http")
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (addresses, proto)


def without_hsts(start: bytes) -> bytes:
    """An answer's start without Strict-Transport-Security: of two, browsers take the first (RFC 6797, 8.1)."""
    return _HSTS_LINES.sub(b"", start)


def without_cors(start: bytes) -> bytes:
    """An answer's start without Access-Control-* lines: the gateway's policy replaces the upstream's."""
    return _CORS_LINES.sub(b"", start)
