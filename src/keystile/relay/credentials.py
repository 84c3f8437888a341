"""Which API key does a request present?

Law: reads the presented secret out of the fields and the query, and takes it
out of what goes on to the upstream. It does not know which keys exist.

Hot path: what the fields present is worked out once per ``RequestFields`` (see
``wire/request_fields.py``); a kept-alive client's next request that presents the
same finds it there.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from keystile.keys.secret import digest
from keystile.relay.refusal import Refusal
from keystile.wire.request_fields import RequestFields

#: Longer than any key that a service could have issued; what is longer is not hashed.
MAX_SECRET: Final = 512


class Presented:
    """A presented secret: its ``digest`` (32 bytes). The secret is not kept.

    Its check digits are not looked at: to find no key under a digest costs less (0.3 µs) than to recompute them (0.5).
    """

    __slots__ = ("digest",)

    def __init__(self, secret: bytes) -> None:
        self.digest = digest(secret)


def presented_in(fields: RequestFields) -> Presented | Refusal:
    """The one key in the fields, or why there is none. An empty field counts as a key: it was meant as one."""
    secrets: list[bytes] = []
    other = False  # a user name and password where a key belongs
    for name, value in fields.withheld:
        if name != b"authorization":
            secrets.append(value)
            continue
        scheme, _, rest = value.partition(b" ")
        if scheme.lower() == b"bearer":
            secrets.append(rest.strip(b" \t"))
        else:
            other = True
    if not secrets:
        other = other or fields.authorization[:6].lower() == b"basic "
        return Refusal.OTHER_CREDENTIALS if other else Refusal.NO_KEY
    if len(secrets) > 1:
        return Refusal.TWO_KEYS
    return read_secret(secrets[0])


def read_secret(secret: bytes) -> Presented | Refusal:
    """A secret of a length that a key can have."""
    if not 0 < len(secret) <= MAX_SECRET:
        return Refusal.INVALID_KEY
    return Presented(secret)


def split_query(query: bytes, parameter: bytes) -> tuple[list[bytes], bytes]:
    """The values of ``parameter`` in ``query``, decoded, and the query without them, otherwise byte for byte."""
    values: list[bytes] = []
    kept: list[bytes] = []
    for piece in query.split(b"&"):
        name, _, value = piece.partition(b"=")
        if unquote_to_bytes(name.replace(b"+", b" ")).lower() == parameter:
            values.append(unquote_to_bytes(value.replace(b"+", b" ")))
        else:
            kept.append(piece)
    return values, b"&".join(kept)
