"""The grammar of HTTP/1.1 heads (RFC 9110 §5, RFC 9112 §3–§5) as precompiled expressions.

Law: stricter than the RFCs where they allow a choice: no obs-fold, no bare CR
or LF, no white space where a list of proxies has been fooled by it. Possessive
quantifiers (``*+``) make every expression linear in what it reads.
"""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
FIELD_VALUE: Final = rb"[\t -~\x80-\xff]"

#: Request line up to the minor version, which stays in front of the fields: what follows ``HTTP/1.`` is
#: all that the reading of the fields depends on.
REQUEST_LINE: Final = re.compile(rb"([A-Z][A-Z-]{0,23}+) ([!-~]++) HTTP/1\.(?=[01]\r\n)")

#: The method of a request whose head is not whole or not well-formed; an empty line may stand before it.
METHOD_BEGUN: Final = re.compile(rb"(?:\r\n)?([A-Z][A-Z-]{0,23}+) ")

#: A request line of some other version of HTTP; only for telling 505 from 400.
OTHER_VERSION: Final = re.compile(rb"[A-Z][A-Z-]{0,23}+ [!-~]++ HTTP/[0-9](?:\.[0-9])?\r\n")

#: A whole answer head (RFC 9112 §4), field lines and empty line included: status, and the reason with its space.
ANSWER_HEAD: Final = re.compile(
    rb"HTTP/1\.[01] ([1-5][0-9]{2})( " + FIELD_VALUE + rb"*+)?\r\n"
    rb"(?:" + TOKEN + rb"++:" + FIELD_VALUE + rb"*+\r\n)*+\r\n"
)

#: A trailer line (RFC 9112 §7.1.2), without its CRLF.
TRAILER: Final = re.compile(TOKEN + rb"++:" + FIELD_VALUE + rb"*+")

#: A chunk's size line, without its CRLF (RFC 9112 §7.1): no sign, no prefix, no space; extensions are read over.
CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + FIELD_VALUE + rb"*+)?")

#: Host (RFC 9110 §7.2): a registered name or IPv4 address, or an IPv6 address in brackets; an optional port.
HOST: Final = re.compile(rb"(?:[0-9A-Za-z._~-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{1,5})?")

#: Absolute form (RFC 9112 §3.2.2): scheme, authority, then path and query.
ABSOLUTE_FORM: Final = re.compile(rb"(?i:https?)://([^/?#]++)(/[!-~]*+)?")

#: Methods that are known: those of RFC 9110 and PATCH (RFC 5789). No route serves TRACE and CONNECT.
METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"})

#: RFC 9110 §9.2.2, less TRACE: a second sending has the effect of one.
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"})

#: Fields that concern one connection only (RFC 9110 §7.6.1) and are never passed on.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
