"""CRC-32C (Castagnoli), as PROXY protocol headers carry it (RFC 9260, appendix A).

Law: bytes in, a number out. A table and a loop: it is asked for once a connection, of some hundred bytes.
"""

from __future__ import annotations

from typing import Final

#: The polynomial 0x1EDC6F41 with its bits reversed.
_POLYNOMIAL: Final = 0x82F63B78


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(_entry(byte) for byte in range(256))


def crc32c(data: bytes) -> int:
    """The checksum of ``data``."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
