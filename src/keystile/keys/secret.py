"""The secret of an API key: how it is made, recognised, hashed and kept out of texts.

Law: this file sees secrets in clear and keeps none. It knows nothing of accounts,
keys or stores; nothing here writes anywhere.

A secret is 96 upper-case hexadecimal characters: 88 from the operating system's
generator (352 bits), then the CRC-32 of those 88 ASCII characters as 8 more. A
CRC-32 finds every burst of up to 32 bits, so every single mistyped character (and
every pair of neighbours) is found without asking anybody, and a scanner that
meets a random run of 96 such characters takes it for a key once in 4,294,967,296.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final
from zlib import crc32

SECRET_LENGTH: Final = 96
DIGEST_BYTES: Final = 32
HINT_LENGTH: Final = 5
_BODY_LENGTH: Final = 88
_DIGITS: Final = b"0123456789ABCDEF"
_RUNS: Final = re.compile(r"[0-9A-Fa-f]{96,}")
_MANAGEMENT_TOKEN: Final = re.compile(r"kst_[0-9A-Fa-f]{16,}")
# Lengths of SHA-384 and SHA-512 in hexadecimal: in lower case these may stand in a log.
_OTHER_DIGESTS: Final = (96, 128)


def generate() -> str:
    """Return a new secret of 96 upper-case hexadecimal characters."""
    body = secrets.token_hex(_BODY_LENGTH // 2).upper()
    return f"{body}{crc32(body.encode('ascii')):08X}"


def has_check_digits(secret: bytes) -> bool:
    """Say whether ``secret`` is 96 upper-case hexadecimal bytes that end in their right check digits.

    Relays do not ask: to find no key under a digest takes less.
    """
    return (
        len(secret) == SECRET_LENGTH
        and b"%08X" % crc32(secret[:_BODY_LENGTH]) == secret[_BODY_LENGTH:]
        and not secret.translate(None, _DIGITS)
    )


def digest(secret: bytes) -> bytes:
    """Return the SHA-256 of ``secret``, 32 bytes: all that is ever stored of it."""
    return hashlib.sha256(secret).digest()


def mark(secret_digest: bytes) -> str:
    """Return what tells a secret's digest from all others in messages about its use: its first half, hexadecimal."""
    return secret_digest[: DIGEST_BYTES // 2].hex()


def hint(secret: str) -> str:
    """Return the last five characters, by which an owner recognises a key."""
    return secret[-HINT_LENGTH:]


def redact(text: str) -> str:
    """Return ``text`` with every well-formed key in it replaced by ``[key …12345]``, and management tokens.

    Whole runs go, not only the 96 characters: a key may stand right behind
    characters that look like its own (``%3D`` and the key). A run in upper case
    goes whether or not its check digits are right, since imported keys have none.
    Of those with lower-case letters a SHA-384 or SHA-512 stays, unless it begins
    or ends with a key. The work is linear, whatever a client sends.
    """
    if "kst_" in text:
        text = _MANAGEMENT_TOKEN.sub("[management token]", text)
    if len(text) < SECRET_LENGTH:
        return text
    return _RUNS.sub(_redacted, text)


def _redacted(found: re.Match[str]) -> str:
    run = found.group()
    stays = len(run) in _OTHER_DIGESTS and run != run.upper() and not _has_a_key_at_an_end(run.upper())
    return run if stays else f"[key …{hint(run)}]"


def _has_a_key_at_an_end(run: str) -> bool:
    return any(has_check_digits(end.encode("ascii")) for end in (run[:SECRET_LENGTH], run[-SECRET_LENGTH:]))
