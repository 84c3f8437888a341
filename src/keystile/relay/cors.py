"""Browsers from other origins (the Fetch standard's CORS protocol).

Law: says which origin may read answers; never replaces the key. A preflight
carries no key by design, so it is answered without one, and for operations that
exist only.
"""

from __future__ import annotations

from typing import Final

from keystile.config.model import Cors

#: Answer fields that are ours alone on a route with a policy: browsers refuse a second Access-Control-Allow-Origin.
PREFIX: Final = b"access-control-"


def allows(cors: Cors, origin: bytes) -> bool:
    """Whether pages of ``origin`` may call. ``*`` in the policy means every one."""
    return "*" in cors.origins or origin.decode("latin-1") in cors.origins


def answer_fields(cors: Cors | None, origin: bytes) -> bytes:
    """Field lines for an answer to a page of ``origin`` (empty for none)."""
    if cors is None:
        return b""
    if not origin or not allows(cors, origin):
        return b"Vary: Origin\r\n"
    return (
        b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: X-Request-Id, Retry-After\r\n"
        b"Vary: Origin\r\n"
    ) % origin


def preflight_fields(cors: Cors, origin: bytes, method: bytes, key_headers: tuple[str, ...]) -> bytes:
    """Field lines of the answer to a preflight from an origin that may call ``method``."""
    names = dict.fromkeys((*key_headers, "Content-Type", *cors.headers))
    return (
        b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Methods: %b\r\n"
        b"Access-Control-Allow-Headers: %b\r\nAccess-Control-Max-Age: %d\r\n"
        b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
    ) % (origin, method, ", ".join(names).encode("ascii"), cors.max_age)
