"""The opening handshake of WebSocket (RFC 6455 §4, RFC 9110 §7.8): what was asked for, and whether it was granted.

Law: fields and answer heads; nothing of what goes through a tunnel is ever parsed here or elsewhere. A
handshake is believed only where both sides say all that the standard asks of them: a gateway that takes an
answer for a switch which the server did not mean reads the rest of the connection differently from the
server, and a request hides in it (CVE-2024-23326, CVE-2026-2833).
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from keystile.wire.answer_head import AnswerHead
from keystile.wire.request_fields import RequestFields

#: The one version there is (RFC 6455 §4.1).
VERSION: Final = b"13"
#: Lines by which both sides say that the connection changes; hop by hop, so always our own.
UPGRADE_LINES: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

_PROTOCOL: Final = b"websocket"
_EMPTY: Final = b", \t"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: 16 bytes in base64: the last digit before the padding has four bits to spare, which are zero.
_KEY: Final = re.compile(rb"[0-9A-Za-z+/]{21}[AQgw]==")
_ACCEPT: Final = re.compile(rb"(?i)\r\nsec-websocket-accept:[\t ]*([^\r]*?)[\t ]*(?=\r\n)")
_NEEDED: Final = frozenset({b"sec-websocket-key", b"sec-websocket-version"})


def is_asked_for(fields: RequestFields) -> bool:
    """Whether a request asks to become a WebSocket. One that offers several protocols, or does not name Upgrade
    in Connection, or is of HTTP/1.0, is an ordinary request (RFC 9110 §7.8). Empty elements of a list are none
    (RFC 9110 §5.6.1)."""
    upgrade = fields.upgrade.strip(_EMPTY).lower()
    return upgrade == _PROTOCOL and b"upgrade" in fields.named and fields.minor_version == 1


def fault_of(method: bytes, fields: RequestFields) -> str | None:
    """What is wrong with a request that asks for it; None where nothing is but, perhaps, the version."""
    if method != b"GET":
        return "A WebSocket is opened with GET."
    if fields.chunked or fields.content_length > 0 or fields.expects_continue:
        return "A request that opens a WebSocket has no body."
    if len(fields.websocket_keys) != 1 or _KEY.fullmatch(fields.websocket_keys[0]) is None:
        return "Sec-WebSocket-Key must be there once, with 16 bytes in base64."
    if len(fields.websocket_versions) != 1 or fields.named & _NEEDED:
        return "Sec-WebSocket-Version must be there once."
    return None


def knows_version(fields: RequestFields) -> bool:
    """Whether the version asked for is the one there is; otherwise the answer is 426 (RFC 6455 §4.4)."""
    return fields.websocket_versions == (VERSION,)


def accept_for(key: bytes) -> bytes:
    """What the server must answer to ``key`` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def is_granted(head: AnswerHead, fields: RequestFields) -> bool:
    """Whether a 101 is the answer to this very request: the protocol, the connection, and the proof."""
    proofs = _ACCEPT.findall(head.start)
    return (
        head.upgrade.lower() == _PROTOCOL
        and b"upgrade" in head.connection
        and proofs == [accept_for(fields.websocket_keys[0])]
    )
