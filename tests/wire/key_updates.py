"""Records of TLS 1.3 that ask for new keys (KeyUpdate, RFC 8446 section 4.6.3), made from a client's traffic secret.

Law: no library sends these as often as an attacker does, so they are encrypted here; each is under the keys that the
one before it led to (section 7.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

#: KeyUpdate with update_requested, and the type of what is inside: handshake.
_ASK = bytes((24, 0, 0, 1, 1)) + bytes((22,))
_HEAD = bytes((23, 3, 3, 0, len(_ASK) + 16))


def key_updates(key_log: Path, cipher: str) -> Iterator[bytes]:
    """One record after the other, for ever, of a client that has sent nothing since its handshake.

    ``key_log``: its ``keylog_filename``; ``cipher``: with AES-GCM, as ``SSLObject.cipher()`` names it.
    """
    found = re.findall(r"(?m)^CLIENT_TRAFFIC_SECRET_0 [0-9a-f]+ ([0-9a-f]+)$", key_log.read_text(encoding="ascii"))
    secret = bytes.fromhex(found[-1])
    size = 16 if "AES_128" in cipher else 32
    while True:
        key, nonce = _expand(secret, b"key", size), _expand(secret, b"iv", 12)
        yield _HEAD + AESGCM(key).encrypt(nonce, _ASK, _HEAD)  # the first under these keys: number 0
        secret = _expand(secret, b"traffic upd", len(secret))


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    label = b"tls13 " + label
    info = size.to_bytes(2) + bytes((len(label),)) + label + b"\0"
    return HKDFExpand(SHA256() if len(secret) == 32 else SHA384(), size, info).derive(secret)
